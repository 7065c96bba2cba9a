// The legend of an image: the colours of the emotions on its boxes.

import { element } from "./api.js";
import { shownEmotions } from "./faces.js";
import { inOrder, paint } from "./labels.js";

const NONE = "below the threshold";

/** Show the emotions of the boxes in `list`, each with the number of faces. */
export function showLegend(list, faces, threshold) {
  const counts = new Map();
  for (const face of faces) {
    const emotion = shownEmotions(face, threshold)[0]?.[0] ?? NONE;
    counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
  }
  const below = counts.get(NONE);
  counts.delete(NONE);
  const text = (name, count) => (faces.length > 1 ? `${name} × ${count}` : name);
  const items = inOrder([...counts.keys()]).map((emotion) =>
    paint(element("li", { className: "swatch" }, text(emotion, counts.get(emotion))), emotion));
  if (below) items.push(element("li", { className: "swatch below" }, text(NONE, below)));
  list.replaceChildren(...items);
}

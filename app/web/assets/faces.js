// Faces: boxes over a picture, and the probabilities of each as bars.

import { element } from "./api.js";

/** Emotions of a face that reach `threshold`, the likeliest first. As everywhere in the service,
 * a probability is compared when it is rounded to two decimals. */
export function shownEmotions(face, threshold) {
  return Object.entries(face.emotions)
    .filter(([, probability]) => Math.round(100 * probability) >= Math.round(100 * threshold))
    .sort(([, a], [, b]) => b - a);
}

export const percent = (share) => `${Math.round(100 * share)} %`;

/** What a face shows, in words. */
export function inWords(face, threshold) {
  const shown = shownEmotions(face, threshold);
  if (!shown.length) return `nothing from ${percent(threshold)} on`;
  return shown.map(([emotion, probability]) => `${emotion} ${percent(probability)}`).join(", ");
}

/** A list item with the bars of a face. */
export function card(face, threshold) {
  const bars = Object.entries(face.emotions)
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, probability]) => {
      const bar = element("i", { className: `bar ${emotion}` });
      bar.style.setProperty("--share", probability);
      const row = element("li", {}, emotion, element("span", { className: "track" }, bar));
      row.append(element("span", { className: "number" }, percent(probability)));
      row.dataset.probability = probability;
      return row;
    });
  const title = element("h3", {}, `Face ${face.face_id}`, element("small"));
  const made = element("li", { className: "card", tabIndex: 0 }, title);
  made.append(element("ul", { className: "bars" }, ...bars));
  made.dataset.face = face.face_id;
  applyToCard(made, face, threshold);
  return made;
}

export function applyToCard(made, face, threshold) {
  made.querySelector("small").textContent = inWords(face, threshold);
  const shown = shownEmotions(face, threshold).length;
  made.querySelectorAll(".bars > li").forEach((row, index) => {
    row.classList.toggle("faint", index >= shown);
  });
}

/** A button over the picture where a face is; `image` is the answer that it belongs to. */
export function box(face, image, threshold) {
  const { x1, y1, x2, y2 } = face.box;
  const made = element("button", { type: "button", className: "box" });
  const place = { left: x1 / image.width, top: y1 / image.height };
  place.width = (x2 - x1) / image.width;
  place.height = (y2 - y1) / image.height;
  for (const [side, share] of Object.entries(place)) made.style[side] = `${100 * share}%`;
  made.dataset.face = face.face_id;
  made.append(element("span", {}, String(face.face_id)));
  applyToBox(made, face, threshold);
  return made;
}

export function applyToBox(made, face, threshold) {
  const [first] = shownEmotions(face, threshold);
  made.className = `box ${first ? first[0] : "nothing"}`;
  made.setAttribute("aria-label", `Face ${face.face_id}: ${inWords(face, threshold)}`);
  made.title = inWords(face, threshold);
}

// Faces: boxes over an image, and the probabilities of each face as bars.

import { element } from "./api.js";
import { paint } from "./labels.js";

// toFixed rounds a tie up; the service, like Python, rounds it to the even digit. They differ here only.
const TIES = { 0.125: 0.12, 0.625: 0.62 };

/** A probability rounded to two decimals as the service rounds it. */
export const rounded = (probability) => TIES[probability] ?? Number(probability.toFixed(2));

/** The emotions of a face that reach `threshold`, the most probable first, as the service shows
 * them. The rounded probability is compared with the exact threshold. */
export function shownEmotions(face, threshold) {
  return Object.entries(face.emotions)
    .filter(([, probability]) => rounded(probability) >= threshold)
    .sort(([, a], [, b]) => b - a);
}

export const percent = (share) => `${Math.round(100 * rounded(share))} %`;

// A threshold may have more decimals than two.
const exactPercent = (threshold) => `${Number((100 * threshold).toPrecision(12))} %`;

/** The shown emotions of a face as text. */
export function inWords(face, threshold) {
  const shown = shownEmotions(face, threshold);
  if (!shown.length) return `no emotion at ${exactPercent(threshold)} or more`;
  return shown.map(([emotion, probability]) => `${emotion} ${percent(probability)}`).join(", ");
}

/** A list item with the bars of a face. */
export function card(face, threshold) {
  const bars = Object.entries(face.emotions)
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, probability]) => {
      const bar = paint(element("i", { className: "bar" }), emotion);
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

/** A button over the image at the place of a face. `image` is the answer with this face. */
export function box(face, image, threshold) {
  const made = place(element("button", { type: "button" }), face, image);
  made.dataset.face = face.face_id;
  made.append(element("span", {}, String(face.face_id)));
  applyToBox(made, face, threshold);
  return made;
}

/** A box with a text at the place of a face, which cannot be clicked. */
export function outline(face, image, label) {
  const made = element("div", { className: "box" }, element("span", {}, label));
  return place(paint(made, face.dominant), face, image);
}

// Positions are shares of the image, because it can be shown at any size.
function place(made, face, image) {
  const { x1, y1, x2, y2 } = face.box;
  const sides = { left: x1 / image.width, top: y1 / image.height };
  sides.width = (x2 - x1) / image.width;
  sides.height = (y2 - y1) / image.height;
  for (const [side, share] of Object.entries(sides)) made.style[side] = `${100 * share}%`;
  // Keep the text within the image: the space above the box in heights of the box, and the side
  // from which the text grows.
  made.style.setProperty("--above", y1 / (y2 - y1));
  made.classList.toggle("right", x1 + x2 > image.width);
  return made;
}

export function applyToBox(made, face, threshold) {
  const [first] = shownEmotions(face, threshold);
  made.classList.add("box");
  made.classList.toggle("nothing", !first);
  paint(made, first ? first[0] : null);
  made.setAttribute("aria-label", `Face ${face.face_id}: ${inWords(face, threshold)}`);
  made.title = inWords(face, threshold);
}

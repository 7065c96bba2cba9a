// Face boxes on an image, and cards with the probabilities of a face.

import { element } from "./api.js";
import { paint } from "./labels.js";

// toFixed rounds ties up, but the service, like Python, rounds them to the even digit. Only these
// two probabilities between 0 and 1 differ.
const TIES = { 0.125: 0.12, 0.625: 0.62 };

/** Round a probability to two decimals like the service. */
export const rounded = (probability) => TIES[probability] ?? Number(probability.toFixed(2));

/** Return the emotions whose rounded probability reaches `threshold`, by descending probability. */
export function shownEmotions(face, threshold) {
  return Object.entries(face.emotions)
    .filter(([, probability]) => rounded(probability) >= threshold)
    .sort(([, a], [, b]) => b - a);
}

export const percent = (share) => `${Math.round(100 * rounded(share))} %`;

// A threshold can have more than two decimals.
const exactPercent = (threshold) => `${Number((100 * threshold).toPrecision(12))} %`;

/** Describe the emotions of a face that reach `threshold`. */
export function describeFace(face, threshold) {
  const shown = shownEmotions(face, threshold);
  if (!shown.length) return `no emotion reaches ${exactPercent(threshold)}`;
  return shown.map(([emotion, probability]) => `${emotion} ${percent(probability)}`).join(", ");
}

export const countFaces = (count) => (count === 1 ? "1 face" : `${count || "no"} faces`);

/** Return the width and height of a face in pixels of the image. */
export const sizeOf = ({ box: { x1, y1, x2, y2 } }) =>
  `${Math.round(x2 - x1)} × ${Math.round(y2 - y1)}`;

/** Create one chip per dominant emotion of the faces, most frequent first. */
export function chips(faces) {
  const counts = new Map();
  for (const { dominant } of faces) counts.set(dominant, (counts.get(dominant) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, count]) => {
      const text = count > 1 ? `${emotion} × ${count}` : emotion;
      return paint(element("span", { className: "chip" }, text), emotion);
    });
}

/** Create a list item with a bar for each emotion of a face. */
export function card(face, threshold) {
  const item = element("li", { className: "card", tabIndex: 0 });
  fillCard(item, face, threshold);
  return item;
}

/** Replace the content of a card: a title, and a bar for each emotion of a face. */
export function fillCard(item, face, threshold) {
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
  item.replaceChildren(title, element("ul", { className: "bars" }, ...bars));
  item.dataset.face = face.face_id;
  applyToCard(item, face, threshold);
}

/** Update a card for a threshold. */
export function applyToCard(item, face, threshold) {
  item.querySelector("small").textContent = describeFace(face, threshold);
  const count = shownEmotions(face, threshold).length;
  item.querySelectorAll(".bars > li").forEach((row, index) => {
    row.classList.toggle("faint", index >= count);
  });
}

/** Create a clickable box for a face. `image` is the analysis that contains the face. box_labels.js
 * writes its label. */
export function box(face, image, threshold) {
  const button = place(element("button", { type: "button" }), face, image);
  button.dataset.face = face.face_id;
  button.append(element("span", { hidden: true }));
  applyToBox(button, face, threshold);
  return button;
}

/** Create a box that cannot be clicked. `label` is the text of the box. */
export function outline(face, image, label) {
  const rectangle = element("div", { className: "box" }, element("span", {}, label));
  return place(paint(rectangle, face.dominant), face, image);
}

// Positions are percentages, because the image can have any size on the page.
function place(rectangle, face, image) {
  const { x1, y1, x2, y2 } = face.box;
  const sides = { left: x1 / image.width, top: y1 / image.height };
  sides.width = (x2 - x1) / image.width;
  sides.height = (y2 - y1) / image.height;
  for (const [side, share] of Object.entries(sides)) rectangle.style[side] = `${100 * share}%`;
  // Keep the label inside the image: --above is the space above the box divided by its height,
  // and .right aligns the label with the right side of the box.
  rectangle.style.setProperty("--above", y1 / (y2 - y1));
  rectangle.classList.toggle("right", x1 + x2 > image.width);
  return rectangle;
}

/** Update a box for a threshold. */
export function applyToBox(button, face, threshold) {
  const [first] = shownEmotions(face, threshold);
  button.classList.add("box");
  button.classList.toggle("no-emotion", !first);
  paint(button, first ? first[0] : null);
  button.setAttribute("aria-label", `Face ${face.face_id}: ${describeFace(face, threshold)}`);
  button.title = describeFace(face, threshold);
}

// Labels of the boxes on an image: the emotion and its probability, placed beside the faces.

import { percent, shownEmotions } from "./faces.js";

const HEIGHT = 20; // pixels of a label, as in result.css
const PADDING = 12; // pixels, left and right together
const GAP = 2; // pixels between a label and its box
const BORDER = 3; // pixels of a box: positions are relative to the inner side

/** Place the labels of the boxes in `stage`, the element around the image. `faces` are all faces
 * of the image. A label is the emotion with its probability, or, if space is scarce, the emotion,
 * and then the number of the face. It covers no box and no other label where that is possible. */
export function placeLabels(stage, faces, threshold) {
  const size = { width: stage.clientWidth, height: stage.clientHeight };
  if (!size.width) return;
  const boxes = faces.map((face) => {
    const button = stage.querySelector(`button[data-face="${face.face_id}"]`);
    const { offsetLeft: left, offsetTop: top, offsetWidth, offsetHeight } = button;
    return { face, button, left, top, right: left + offsetWidth, bottom: top + offsetHeight };
  });
  const measure = measurer(stage.querySelector(".box span"));
  const taken = [...boxes];
  for (const box of boxes) {
    const [first] = shownEmotions(box.face, threshold);
    const label = box.button.querySelector("span");
    label.hidden = !first;
    if (!first) continue;
    const texts = [`${first[0]} ${percent(first[1])}`, first[0], String(box.face.face_id)];
    const place = findPlace(box, texts, measure, size, taken);
    taken.push(place);
    label.textContent = place.text;
    label.style.left = `${place.left - box.left - BORDER}px`;
    label.style.top = `${place.top - box.top - BORDER}px`;
  }
}

// Text widths, without a layout of the page for each text.
function measurer(label) {
  if (!label) return () => 0;
  const { fontWeight, fontSize, fontFamily } = getComputedStyle(label);
  const context = document.createElement("canvas").getContext("2d");
  context.font = `${fontWeight} ${fontSize} ${fontFamily}`;
  return (text) => Math.ceil(context.measureText(text).width) + PADDING;
}

function findPlace(box, texts, measure, size, taken) {
  for (const text of texts) {
    const width = measure(text);
    const found = positions(box, width)
      .map(([left, top]) => ({ text, left, top, right: left + width, bottom: top + HEIGHT }))
      .find((place) => isInside(place, size) && !taken.some((each) => overlap(place, each)));
    if (found) return found;
  }
  // No free place: cover the corner of the own box with the number.
  const text = texts.at(-1);
  const left = Math.min(Math.max(0, box.left), size.width - measure(text));
  const top = Math.min(Math.max(0, box.top), size.height - HEIGHT);
  return { text, left, top, right: left + measure(text), bottom: top + HEIGHT };
}

// Above and below the box, then beside it. The first position is the preferred one.
function positions({ left, top, right, bottom }, width) {
  const rows = [top - HEIGHT - GAP, bottom + GAP];
  const columns = [left, right - width, (left + right - width) / 2];
  return [
    ...rows.flatMap((row) => columns.map((column) => [column, row])),
    ...[top, bottom - HEIGHT].flatMap((row) => [
      [right + GAP, row],
      [left - width - GAP, row],
    ]),
  ];
}

const isInside = ({ left, top, right, bottom }, { width, height }) =>
  left >= 0 && top >= 0 && right <= width && bottom <= height;

const overlap = (a, b) =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

// The table of the faces of a group: number, crop, emotion, probability and size.

import { element } from "./api.js";
import { drawCrop } from "./crops.js";
import { percent, shownEmotions, sizeOf } from "./faces.js";
import { inOrder, paint } from "./labels.js";

const $ = (id) => document.getElementById(id);
const CROP = 64; // pixels; half of it on the page

let faces = [];
let threshold = 0;
let select = () => {};

/** `onSelect` gets the face that the user selects. */
export function start(onSelect) {
  select = onSelect;
  $("face-sort").addEventListener("change", sort);
  $("face-rows").addEventListener("click", ({ target }) => {
    const face = faceOf(target);
    if (face) select(face);
  });
  $("face-rows").addEventListener("keydown", moveFocus);
}

/** Show the faces of an image, and return the face of the first row. */
export function show(newFaces, newThreshold) {
  faces = newFaces;
  threshold = newThreshold;
  $("face-table").hidden = false;
  $("face-table-title").textContent = `${faces.length} faces`;
  $("face-rows").replaceChildren(...faces.map(rowOf));
  $("face-scroll").scrollTop = 0;
  sort();
  return faceOf($("face-rows").firstElementChild);
}

export function hide() {
  faces = [];
  $("face-table").hidden = true;
  $("face-rows").replaceChildren();
}

/** Draw the crops of the faces. `view` is the loaded img element. */
export function drawCrops(image, view) {
  for (const face of faces) drawCrop(rowFor(face).querySelector("canvas"), face, image, view);
}

/** Update the table for a threshold. */
export function applyThreshold(newThreshold) {
  threshold = newThreshold;
  for (const face of faces) fillRow(rowFor(face), face);
  if ($("face-sort").value === "emotion") sort();
}

/** Mark the selected face and scroll the table to it. */
export function setSelected(selected) {
  for (const face of faces) {
    const isSelected = face === selected;
    const button = rowFor(face).querySelector("button");
    button.setAttribute("aria-pressed", String(isSelected));
    button.tabIndex = isSelected ? 0 : -1; // the arrow keys reach the other rows
    rowFor(face).classList.toggle("selected", isSelected);
  }
  scrollTo(selected.face_id);
}

/** Scroll the table, not the page, to a face. */
export function scrollTo(faceId) {
  const row = $("face-rows").querySelector(`[data-face="${faceId}"]`);
  if (!row) return;
  const frame = $("face-scroll");
  const head = frame.querySelector("thead").offsetHeight;
  const bottom = row.offsetTop + row.offsetHeight;
  if (row.offsetTop < frame.scrollTop + head) frame.scrollTop = row.offsetTop - head;
  if (bottom > frame.scrollTop + frame.clientHeight) frame.scrollTop = bottom - frame.clientHeight;
}

const rowFor = ({ face_id: id }) => $("face-rows").querySelector(`[data-face="${id}"]`);

const faceOf = (target) =>
  faces.find((each) => String(each.face_id) === target.closest("tr")?.dataset.face);

function rowOf(face) {
  const button = element("button", { type: "button" }, String(face.face_id));
  button.setAttribute("aria-label", `Face ${face.face_id}`);
  const canvas = element("canvas", { width: CROP, height: CROP, ariaHidden: "true" });
  const row = element("tr", {}, element("td", {}, button), element("td", {}, canvas));
  row.append(
    element("td", { className: "emotion" }),
    element("td", { className: "number" }),
    element("td", { className: "number" }, sizeOf(face)),
  );
  row.dataset.face = face.face_id;
  fillRow(row, face);
  return row;
}

function fillRow(row, face) {
  const [first] = shownEmotions(face, threshold);
  const name = first
    ? paint(element("span", { className: "swatch" }, first[0]), first[0])
    : element("span", { className: "quiet" }, "below threshold");
  row.querySelector(".emotion").replaceChildren(name);
  row.querySelector(".number").textContent = percent(face.emotions[face.dominant]);
}

function sort() {
  const order = { position: byPosition, size: bySize, emotion: byEmotion }[$("face-sort").value];
  $("face-rows").append(...order([...faces]).map(rowFor));
}

const height = ({ box }) => box.y2 - box.y1;
const area = ({ box }) => (box.x2 - box.x1) * height({ box });
const centre = ({ box }) => (box.y1 + box.y2) / 2;

const bySize = (list) => list.sort((a, b) => area(b) - area(a));

// Lines from top to bottom, and each line from left to right. The centre of a face of a line is
// at most half a face below the centre of the first face of the line.
function byPosition(list) {
  const lines = [];
  for (const face of list.sort((a, b) => centre(a) - centre(b))) {
    const line = lines.at(-1);
    if (line && centre(face) - centre(line[0]) < height(line[0]) / 2) line.push(face);
    else lines.push([face]);
  }
  return lines.flatMap((line) => line.sort((a, b) => a.box.x1 - b.box.x1));
}

// Emotions in the order of the labels, the most certain faces first. Faces below the threshold
// are last.
function byEmotion(list) {
  const shown = new Map(list.map((face) => [face, shownEmotions(face, threshold)[0] ?? null]));
  const names = inOrder([...shown.values()].filter(Boolean).map(([name]) => name));
  const rank = (face) => (shown.get(face) ? names.indexOf(shown.get(face)[0]) : names.length);
  const best = (face) => face.emotions[face.dominant];
  return list.sort((a, b) => rank(a) - rank(b) || best(b) - best(a));
}

function moveFocus(event) {
  const rows = [...$("face-rows").children];
  const at = rows.indexOf(event.target.closest("tr"));
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (next === undefined || !rows[next]) return;
  event.preventDefault();
  rows[next].querySelector("button").focus({ preventScroll: true });
  select(faceOf(rows[next]));
}

// The result of one image: image with boxes, caption, legend, faces and group mood.

import { element } from "./api.js";
import { placeLabels } from "./box_labels.js";
import * as detail from "./face_detail.js";
import * as table from "./face_table.js";
import { applyToBox, applyToCard, box, card, countFaces } from "./faces.js";
import { showLegend } from "./legend.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
const MAX_CARDS = 4; // more faces are a table, with one face in detail

let image = null; // the analysis on the page
let view = null; // its img element when it is loaded
let selected = null; // a face of the table

export function start() {
  table.start(select);
  new ResizeObserver(label).observe($("image"));
  for (const each of [$("faces"), $("face-rows"), $("image")]) {
    for (const kind of ["pointerover", "focusin"]) each.addEventListener(kind, highlightPointed);
    for (const kind of ["pointerout", "focusout"]) each.addEventListener(kind, clearHighlight);
  }
  $("image").addEventListener("click", ({ target }) => {
    const id = target.closest("[data-face]")?.dataset.face;
    if (!id) return;
    if (isGroup()) select(image.faces.find((face) => String(face.face_id) === id));
    else $("faces").querySelector(`[data-face="${id}"]`).focus();
  });
}

const threshold = () => Number($("threshold").value);
const isGroup = () => image.faces.length > MAX_CARDS;

/** Show {image, url, isAnnotated, reason}; see image_source.js. */
export function show({ image: newImage, url, isAnnotated, reason }) {
  image = newImage;
  selected = null;
  showImage(url, isAnnotated, reason);
  showCaption();
  $("threshold-line").hidden = !image.faces.length;
  $("result").classList.toggle("group", isGroup());
  $("faces").hidden = isGroup();
  if (isGroup()) {
    $("faces").replaceChildren();
    select(table.show(image.faces, threshold()), false);
  } else {
    table.hide();
    detail.hide();
    showCards();
  }
  mood.show(image.mood);
  $("result").hidden = false;
  showLegend($("legend"), image.faces, threshold());
  label();
}

function showImage(url, isAnnotated, reason) {
  const alt = `The image ${image.file_name}`;
  const shown = url ? element("img", { src: url, alt }) : element("div", { className: "sketch" });
  shown.style.setProperty("--ratio", image.width / image.height);
  $("image").classList.toggle("annotated", isAnnotated && Boolean(url));
  $("image-note").hidden = !isAnnotated;
  $("image-note").textContent = url
    ? "This browser cannot show the file, so the page shows the annotated image of the service."
    : `This browser cannot show the file. ${reason}`;
  $("image").replaceChildren(shown, ...image.faces.map((face) => box(face, image, threshold())));
  view = null;
  if (url) shown.decode().then(() => drawCrops(shown)).catch(() => {}); // no crops without image
}

function drawCrops(loaded) {
  if (!loaded.isConnected || !isGroup()) return;
  view = loaded;
  table.drawCrops(image, view);
  detail.show(selected, image, view, threshold());
}

/** Show that the result on the page is stored. `newImage` has the same faces and an id. */
export function showSaved(newImage) {
  image = newImage;
  showCaption();
}

function showCaption() {
  const duration = Object.values(image.timings_ms).reduce((sum, each) => sum + each, 0);
  $("caption").textContent = [
    image.file_name,
    `${image.width} × ${image.height}`,
    countFaces(image.faces.length),
    `${Math.round(duration)} ms`,
    image.id ? `saved as ${image.id}` : "not saved",
  ].join(" · ");
}

function showCards() {
  $("faces").classList.toggle("several", image.faces.length > 2);
  const none = element("li", { className: "empty" }, "No faces found in this image.");
  const cards = image.faces.map((face) => card(face, threshold()));
  $("faces").replaceChildren(...(cards.length ? cards : [none]));
}

// Write the labels of the boxes for the size of the image on the page.
function label() {
  if (!image) return;
  placeLabels($("image"), image.faces, threshold());
}

/** Update the result for the selected threshold. */
export function applyThreshold() {
  if (!image) return;
  for (const face of image.faces) {
    applyToBox($("image").querySelector(`[data-face="${face.face_id}"]`), face, threshold());
    const item = $("faces").querySelector(`[data-face="${face.face_id}"]`);
    if (item) applyToCard(item, face, threshold());
  }
  table.applyThreshold(threshold());
  detail.applyThreshold(threshold());
  showLegend($("legend"), image.faces, threshold());
  label();
}

// Selection and highlight.

function select(face, scroll = true) {
  selected = face;
  table.setSelected(face);
  detail.show(face, image, view, threshold());
  for (const each of $("image").querySelectorAll(".box")) {
    each.classList.toggle("selected", each.dataset.face === String(face.face_id));
  }
  if (scroll) $("image").querySelector(".box.selected").scrollIntoView({ block: "nearest" });
}

function highlightPointed({ target }) {
  const id = target.closest("[data-face]")?.dataset.face ?? null;
  highlightFace(id);
  if (id && $("image").contains(target)) table.scrollTo(id);
}

const clearHighlight = () => highlightFace(null);

function highlightFace(faceId) {
  for (const each of document.querySelectorAll("#result [data-face]")) {
    each.classList.toggle("highlighted", each.dataset.face === faceId);
  }
}

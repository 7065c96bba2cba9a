// History page: search, view, delete and download stored results.

import { ask, element, get, save } from "./api.js";
import { loadChoices, serviceStoresImages } from "./choices.js";
import { card, chips, describeFace, outline } from "./faces.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";
import * as summary from "./summary.js";

const $ = (id) => document.getElementById(id);
const PAGE_SIZE = 20;

let nextCursor = null; // of the next page
let loads = 0; // counts requests, so that only the newest response is shown

export function start() {
  $("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  $("filters").addEventListener("reset", () => setTimeout(load)); // after the fields are reset
  summary.start(() => summary.load(filters()));
  $("newest").addEventListener("click", () => load());
  $("older").addEventListener("click", () => load(nextCursor));
  $("csv").addEventListener("click", () =>
    showErrors(async () => {
      const headers = { Accept: "text/csv" };
      await save(await ask(`/v1/faces?${filters()}`, { headers }), "faces.csv");
    }),
  );
}

/** Show the page of results at a cursor. Without a cursor, show the newest results. */
export function load(cursor = null) {
  return showErrors(async () => {
    loads += 1;
    const number = loads;
    $("history-status").textContent = "Loading …";
    await loadChoices().catch(() => {}); // without the choices, results have no mood
    if (number !== loads) return;
    addLabels();
    const query = filters();
    query.set("view", "full");
    query.set("page_size", PAGE_SIZE);
    for (const [name, value] of Object.entries(mood.defaultOption())) query.set(name, value);
    if (cursor) query.set("cursor", cursor);
    if (!cursor) summary.load(filters()).then(addLabels);
    const page = await get(`/v1/images?${query}`);
    if (number !== loads) return;
    nextCursor = page.next_cursor;
    $("rows").replaceChildren(...page.images.flatMap(rows));
    addLabels();
    $("stored").hidden = !page.images.length;
    $("older").hidden = !nextCursor;
    $("newest").hidden = !cursor;
    $("history-status").textContent = statusText(page.images.length);
  });
}

function statusText(count) {
  if (!count) return "No saved results match.";
  const images = count === 1 ? "1 image" : `${count} images`;
  return `${images}, newest first.${nextCursor ? " There are older images." : ""}`;
}

// Add the labels of the models, and the labels of stored results of removed models, to the filter.
function addLabels() {
  const { emotion } = $("filters").elements;
  const known = new Set([...emotion.options].map((each) => each.value));
  const added = labels.all().filter((each) => !known.has(each));
  emotion.append(...added.map((each) => element("option", { value: each }, each)));
}

function filters() {
  const query = new URLSearchParams();
  for (const { name, value, type } of $("filters").elements) {
    if (!name || !value) continue;
    query.set(name, type === "datetime-local" ? new Date(value).toISOString() : value);
  }
  return query;
}

async function showErrors(action) {
  const problem = $("history-problem");
  problem.hidden = true;
  try {
    await action();
  } catch (error) {
    $("history-status").textContent = "";
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

function rows(image) {
  const date = new Date(image.created_at);
  const text = date.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const time = element("time", { dateTime: image.created_at, title: date.toISOString() }, text);
  const faces = chips(image.faces);
  const details = element("tr", { className: "details", hidden: true });
  const open = element("button", { type: "button", ariaExpanded: "false" }, "Show");
  open.setAttribute("aria-label", `Show ${image.file_name}`);
  open.addEventListener("click", () => {
    if (!details.childElementCount) details.append(detailCell(image));
    details.hidden = !details.hidden;
    open.ariaExpanded = String(!details.hidden);
    open.textContent = details.hidden ? "Show" : "Hide";
  });
  const remove = element("button", { type: "button", className: "danger" }, "Delete");
  remove.setAttribute("aria-label", `Delete ${image.file_name}`);
  remove.addEventListener("click", () => {
    if (remove.dataset.confirming) return void deleteImage(image, [row, details]);
    remove.dataset.confirming = "yes"; // the next click deletes the image
    remove.textContent = "Confirm deletion";
    remove.addEventListener("blur", () => {
      delete remove.dataset.confirming;
      remove.textContent = "Delete";
    }, { once: true });
  });
  const row = element("tr", {}, element("td", {}, time));
  row.append(
    element("td", { className: "name" }, image.file_name),
    element("td", {}, ...(faces.length ? faces : ["none"])),
    element("td", { className: "quiet" }, `${image.model.name}, ${image.detector}`),
    element("td", { className: "buttons" }, open, remove),
  );
  return [row, details];
}

function detailCell(image) {
  const cards = image.faces.map((face) => card(face, image.threshold));
  // The sketch is an empty rectangle with the boxes of the faces, for results without an image file.
  const outlines = image.faces.map((face) => outline(face, image, String(face.face_id)));
  const sketch = element("div", { className: "sketch", ariaHidden: "true" }, ...outlines);
  sketch.style.setProperty("--ratio", image.width / image.height);
  const faces = image.faces.map((face) => describeFace(face, image.threshold)).join("; ");
  const text = `Image ${image.id}, ${image.width} × ${image.height} pixels, threshold ` +
    `${image.threshold}. ${faces}`;
  const cell = element("td", { colSpan: 5 }, element("p", { className: "quiet" }, text));
  if (image.faces.length > 1 && image.mood?.mood) {
    const group = `Group mood: ${mood.describeMood(image.mood)}`;
    cell.append(element("p", { className: "quiet" }, group));
  }
  if (serviceStoresImages()) showImage(image, sketch);
  const list = element("ol", { className: "cards" }, ...cards);
  cell.append(element("div", { className: "detail" }, sketch, list));
  return cell;
}

// Show the stored image file in the sketch, if there is one.
async function showImage(image, sketch) {
  try {
    const response = await ask(`/v1/images/${image.id}/picture`);
    const url = URL.createObjectURL(await response.blob());
    const img = element("img", { src: url, alt: "" });
    try {
      await img.decode(); // fails for formats that this browser does not support
      sketch.prepend(img);
    } finally {
      URL.revokeObjectURL(url);
    }
  } catch {
    // Keep the sketch without an image.
  }
}

function deleteImage(image, imageRows) {
  return showErrors(async () => {
    await ask(`/v1/images/${image.id}`, { method: "DELETE" });
    const nextButton = imageRows.at(-1).nextElementSibling?.querySelector("button");
    for (const row of imageRows) row.remove();
    (nextButton ?? $("filters").querySelector("button")).focus();
    summary.load(filters());
    $("history-status").textContent = `${image.file_name} was deleted.`;
  });
}

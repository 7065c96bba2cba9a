// The page History: stored results, to search, show, delete and download.

import { ask, element, get, save } from "./api.js";
import { fill, keepsPictures } from "./choices.js";
import { card, inWords, outline } from "./faces.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";
import * as summary from "./summary.js";

const $ = (id) => document.getElementById(id);
const PAGE_SIZE = 20;

let next = null; // the cursor of the next page
let loads = 0; // numbers the requests, so that an older answer does not replace a newer one

export function start() {
  $("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  $("filters").addEventListener("reset", () => setTimeout(load)); // when the fields are empty
  summary.start(() => summary.load(filters()));
  $("newest").addEventListener("click", () => load());
  $("older").addEventListener("click", () => load(next));
  $("csv").addEventListener("click", () =>
    attempt(async () => {
      const headers = { Accept: "text/csv" };
      await save(await ask(`/v1/faces?${filters()}`, { headers }), "faces.csv");
    }),
  );
}

/** Show the results that begin at a cursor, or the newest. */
export function load(cursor = null) {
  return attempt(async () => {
    loads += 1;
    const mine = loads;
    $("history-status").textContent = "Loading …";
    await fill().catch(() => {}); // without the choices, results have no mood
    if (mine !== loads) return;
    offerLabels();
    const query = filters();
    query.set("view", "full");
    query.set("page_size", PAGE_SIZE);
    for (const [name, value] of Object.entries(mood.byDefault())) query.set(name, value);
    if (cursor) query.set("cursor", cursor);
    if (!cursor) summary.load(filters()).then(offerLabels);
    const { images, next_cursor: following } = await get(`/v1/images?${query}`);
    if (mine !== loads) return;
    next = following;
    $("rows").replaceChildren(...images.flatMap(rows));
    offerLabels();
    $("stored").hidden = !images.length;
    $("older").hidden = !next;
    $("newest").hidden = !cursor;
    $("history-status").textContent = images.length
      ? `${images.length === 1 ? "1 image" : `${images.length} images`}, newest first` +
        (next ? ". There are older ones." : ".")
      : "No stored results match.";
  });
}

// The labels of the models, and those of results whose models are no longer installed.
function offerLabels() {
  const { emotion } = $("filters").elements;
  const offered = new Set([...emotion.options].map((each) => each.value));
  const others = labels.all().filter((each) => !offered.has(each));
  emotion.append(...others.map((each) => element("option", { value: each }, each)));
}

function filters() {
  const query = new URLSearchParams();
  for (const { name, value, type } of $("filters").elements) {
    if (!name || !value) continue;
    query.set(name, type === "datetime-local" ? new Date(value).toISOString() : value);
  }
  return query;
}

async function attempt(work) {
  const problem = $("history-problem");
  problem.hidden = true;
  try {
    await work();
  } catch (error) {
    $("history-status").textContent = "";
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

function rows(image) {
  const when = new Date(image.created_at);
  const shown = when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const time = element("time", { dateTime: image.created_at, title: when.toISOString() }, shown);
  const faces = chips(image.faces);
  const details = element("tr", { className: "details", hidden: true });
  const open = element("button", { type: "button", ariaExpanded: "false" }, "Show");
  open.setAttribute("aria-label", `Show ${image.file_name}`);
  open.addEventListener("click", () => {
    if (!details.childElementCount) details.append(inDetail(image));
    details.hidden = !details.hidden;
    open.ariaExpanded = String(!details.hidden);
    open.textContent = details.hidden ? "Show" : "Hide";
  });
  const remove = element("button", { type: "button", className: "danger" }, "Delete");
  remove.setAttribute("aria-label", `Delete ${image.file_name}`);
  remove.addEventListener("click", () => {
    if (remove.dataset.sure) return void erase(image, [row, details]);
    remove.dataset.sure = "yes";
    remove.textContent = "Really delete";
    remove.addEventListener("blur", () => {
      delete remove.dataset.sure;
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

// Each dominant emotion once, the most frequent first.
function chips(faces) {
  const counts = new Map();
  for (const { dominant } of faces) counts.set(dominant, (counts.get(dominant) ?? 0) + 1);
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, count]) => {
      const text = count > 1 ? `${emotion} × ${count}` : emotion;
      return labels.paint(element("span", { className: "chip" }, text), emotion);
    });
}

function inDetail(image) {
  const cards = image.faces.map((face) => card(face, image.threshold));
  // Without the image, a sketch shows where the faces were.
  const outlines = image.faces.map((face) => outline(face, image, String(face.face_id)));
  const sketch = element("div", { className: "sketch", ariaHidden: "true" }, ...outlines);
  sketch.style.setProperty("--ratio", image.width / image.height);
  const said = `Image ${image.id}, ${image.width} × ${image.height} pixels, threshold ` +
    `${image.threshold}. ${image.faces.map((face) => inWords(face, image.threshold)).join("; ")}`;
  const cell = element("td", { colSpan: 5 }, element("p", { className: "quiet" }, said));
  if (image.faces.length > 1 && image.mood?.mood) {
    const group = `The group: ${mood.inWords(image.mood)}`;
    cell.append(element("p", { className: "quiet" }, group));
  }
  if (keepsPictures()) showPicture(image, sketch);
  const list = element("ol", { className: "cards" }, ...cards);
  cell.append(element("div", { className: "detail" }, sketch, list));
  return cell;
}

// The image, if the service has stored it.
async function showPicture(image, sketch) {
  try {
    const url = URL.createObjectURL(await (await ask(`/v1/images/${image.id}/picture`)).blob());
    const shown = element("img", { src: url, alt: "" });
    try {
      await shown.decode(); // fails for formats that this browser does not know
      sketch.prepend(shown);
    } finally {
      URL.revokeObjectURL(url);
    }
  } catch {
    // The sketch stays without an image.
  }
}

function erase(image, its) {
  return attempt(async () => {
    await ask(`/v1/images/${image.id}`, { method: "DELETE" });
    const following = its.at(-1).nextElementSibling?.querySelector("button");
    for (const each of its) each.remove();
    (following ?? $("filters").querySelector("button")).focus();
    summary.load(filters());
    $("history-status").textContent = `${image.file_name} was deleted.`;
  });
}

// The list of the images of a queue: name, state, faces and emotions of each image.

import { element } from "./api.js";
import { chips, countFaces } from "./faces.js";
import { ANALYSING, CANCELLED, DONE, FAILED, WAITING } from "./queue.js";

const $ = (id) => document.getElementById(id);

let queue = null;
let showEntry = () => {};
let rows = new Map(); // entry to list item

/** `onShow` gets the entry that the user selects. `onClear` is called for an emptied list. */
export function start(newQueue, { onShow, onClear }) {
  queue = newQueue;
  showEntry = onShow;
  $("queue-cancel").addEventListener("click", () => queue.cancel());
  $("queue-retry").addEventListener("click", () => queue.retry(queue.entries));
  $("queue-clear").addEventListener("click", () => {
    queue.clear();
    onClear();
  });
  $("queue-list").addEventListener("keydown", moveFocus);
}

/** Show a changed entry, or all entries if `entry` is null. One image needs no list. The caller
 * sets the current entry afterwards. */
export function update(entry) {
  $("queue").hidden = queue.entries.length < 2;
  if (entry) {
    fill(rows.get(entry), entry);
  } else {
    const kept = rows;
    rows = new Map(queue.entries.map((each) => [each, kept.get(each) ?? newRow(each)]));
    $("queue-list").replaceChildren(...rows.values());
  }
  updateProgress();
}

/** Mark the entry whose result is on the page. */
export function setCurrent(entry) {
  for (const [each, row] of rows) {
    const isCurrent = each === entry;
    row.classList.toggle("current", isCurrent);
    if (isCurrent) row.querySelector(".entry")?.setAttribute("aria-current", "true");
    else row.querySelector(".entry")?.removeAttribute("aria-current");
  }
}

function updateProgress() {
  const total = queue.entries.length;
  const counts = [[DONE, "analysed"], [FAILED, "failed"], [CANCELLED, "cancelled"]];
  const finished = queue.count(DONE, FAILED, CANCELLED);
  const parts = counts
    .map(([state, text]) => [queue.count(state), text])
    .filter(([count, text]) => count || text === "analysed")
    .map(([count, text]) => `${count} ${text}`);
  $("queue-status").textContent = `${finished} of ${total}: ${parts.join(", ")}`;
  $("queue-progress").max = Math.max(1, total);
  $("queue-progress").value = finished;
  $("queue-progress").hidden = !queue.isRunning;
  $("queue-cancel").hidden = !queue.isRunning;
  $("queue-clear").hidden = queue.isRunning;
  $("queue-retry").hidden = queue.isRunning || !queue.entries.some((each) => each.canRetry);
}

function newRow(entry) {
  const row = element("li");
  fill(row, entry);
  return row;
}

function fill(row, entry) {
  const hadFocus = row.contains(document.activeElement);
  row.dataset.state = entry.state;
  row.replaceChildren(nameOf(entry), element("span", { className: "state" }, entry.state));
  if (entry.image) {
    const faces = element("span", { className: "quiet" }, countFaces(entry.image.faces.length));
    const found = element("span", { className: "found" }, faces, ...chips(entry.image.faces));
    if (entry.isUnsaved) found.append(element("span", { className: "quiet" }, "not saved"));
    row.append(found);
  } else {
    row.append(element("span", { className: "quiet found" }, entry.reason));
  }
  if (entry.canRetry) {
    const retry = element("button", { type: "button" }, "Retry");
    retry.setAttribute("aria-label", `Retry ${entry.path}`);
    retry.addEventListener("click", () => queue.retry([entry]));
    row.append(retry);
  }
  if (hadFocus) (row.querySelector("button") ?? row.parentElement).focus();
}

function nameOf(entry) {
  if (!entry.image) return element("span", { className: "name" }, entry.path);
  const button = element("button", { type: "button", className: "entry name" }, entry.path);
  button.addEventListener("click", () => showEntry(entry));
  return button;
}

// The arrow keys move between the results.
function moveFocus(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...$("queue-list").querySelectorAll(".entry")];
  const next = buttons[buttons.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

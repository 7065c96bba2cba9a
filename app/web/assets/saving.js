// Saving a result of changed options. It replaces the result that the page stored before, so the
// history counts the image once.

import { analyse, ask, read } from "./api.js";

const $ = (id) => document.getElementById(id);

let shown = null; // the entry on the page
let onSaved = () => {};

/** `onSave` gets an entry with a new stored result. */
export function start(onSave) {
  onSaved = onSave;
  $("save-result").addEventListener("click", () => run(save));
  $("delete-replaced").addEventListener("click", () => run(deleteReplaced));
}

/** Show whether the result of an entry is saved; null hides the notice. */
export function show(entry, problem = "") {
  shown = entry;
  const isUnsaved = Boolean(entry?.isUnsaved);
  const remains = !isUnsaved && Boolean(entry?.replaced.length);
  $("unsaved").hidden = !isUnsaved && !remains;
  $("save-result").hidden = !isUnsaved;
  $("delete-replaced").hidden = !remains;
  $("save-problem").textContent = problem;
  if (isUnsaved) $("unsaved-text").textContent = unsavedText(entry);
  if (remains) {
    $("unsaved-text").textContent =
      "Saved. The previous result is still in the history, so the image is counted twice.";
  }
}

const unsavedText = (entry) =>
  entry.storedId === null
    ? "Not saved: this result is from changed options."
    : "Not saved: this result is from changed options. The history has the previous result.";

async function run(action) {
  const entry = shown;
  const buttons = $("unsaved").querySelectorAll("button");
  for (const each of buttons) each.disabled = true;
  let problem = "";
  try {
    await action(entry);
  } catch (error) {
    problem = error.message;
  }
  for (const each of buttons) each.disabled = false;
  if (shown === entry) show(entry, problem);
}

async function save(entry) {
  const options = { ...entry.options, store: "true" };
  const key = entry.keyFor(options);
  const image = await read(await analyse(entry.file, entry.name, options, { key }));
  if (entry.storedId !== null) entry.replaced.push(entry.storedId);
  entry.stored(image, options);
  onSaved(entry);
  await deleteReplaced(entry);
}

async function deleteReplaced(entry) {
  for (const id of [...entry.replaced]) {
    try {
      await ask(`/v1/images/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) throw error; // 404: somebody deleted it
    }
    entry.replaced = entry.replaced.filter((each) => each !== id);
  }
}

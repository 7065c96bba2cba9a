// Analyse page: pass images to the queue and show the result of one of them.

import { analyse, read, save } from "./api.js";
import { loadChoices, selectedOptions } from "./choices.js";
import { annotated, fetchAnnotated, imageSource } from "./image_source.js";
import * as input from "./input.js";
import * as mood from "./mood.js";
import { DONE, FAILED, Queue } from "./queue.js";
import * as list from "./queue_list.js";
import * as resultView from "./result.js";
import * as saving from "./saving.js";

const $ = (id) => document.getElementById(id);

const queue = new Queue({ options, onChange: updateList, onDone });
let result = null; // {entry, url, isAnnotated, reason}: the result on the page
let awaited = []; // added entries; the first one with a result is shown unless the user chooses
let running = null; // AbortController of the current requests for the result on the page
let redraws = 0; // counts requests for annotated images, so that only the newest is shown

export function start() {
  input.start(addFiles, showError);
  list.start(queue, {
    onShow(entry) {
      awaited = [];
      showError(null);
      showEntry(entry).then(() => $("result").scrollIntoView({ block: "nearest" }));
    },
    onClear: closeResult,
  });
  $("threshold").addEventListener("input", applyThreshold);
  $("threshold").addEventListener("change", redraw);
  $("download").addEventListener("click", download);
  mood.start(requestMood);
  resultView.start();
  saving.start((entry) => {
    updateList(entry);
    if (result?.entry === entry) resultView.showSaved(entry.image);
  });
}

const threshold = () => Number($("threshold").value);

async function options() {
  await loadChoices();
  const store = String($("store").checked);
  return { ...selectedOptions(), ...mood.selectedOption(), threshold: threshold(), store };
}

// Input: one image replaces one image. With a list on the page, images are appended.

function addFiles(files) {
  if ($("analyse").hidden) location.hash = "analyse";
  showError(null);
  if (queue.entries.length < 2) {
    running?.abort();
    queue.clear();
  }
  awaited = queue.add(files);
  if (queue.entries.length > 1) $("progress").hidden = true;
  else showProgress(files[0].path);
}

function updateList(entry) {
  list.update(entry);
  list.setCurrent(result?.entry);
}

async function onDone(entry) {
  if (!awaited.includes(entry)) return;
  const isSingle = queue.entries.length === 1;
  if (entry.state === DONE) {
    awaited = [];
    await showEntry(entry);
  } else if (isSingle && entry.state === FAILED) {
    closeResult();
    showError({ message: entry.reason });
  }
  if (isSingle && queue.entries.includes(entry)) $("progress").hidden = true;
}

function showProgress(name) {
  $("progress").textContent = `Analysing ${name} …`;
  $("progress").hidden = false;
}

/** Analyse the image on the page again with the current options. The result is not stored. */
export async function analyseAgain() {
  if (!result) return;
  const { entry } = result;
  const controller = restart();
  const { signal } = controller;
  showError(null);
  showProgress(entry.path);
  try {
    const newOptions = { ...(await options()), store: "false" };
    const image = await read(await analyse(entry.file, entry.name, newOptions, { signal }));
    if (signal.aborted) return;
    entry.reanalysed(image, newOptions);
    updateList(entry);
    await showEntry(entry, controller);
  } catch (error) {
    if (!signal.aborted) showError(error);
  } finally {
    if (!signal.aborted) $("progress").hidden = true;
  }
}

/** Show an error; null hides it. */
export function showError(error) {
  $("problem").hidden = error === null;
  $("problem").textContent = error?.message ?? "";
}

// Result.

function restart() {
  running?.abort();
  running = new AbortController();
  return running;
}

function closeResult() {
  restart();
  if (result) URL.revokeObjectURL(result.url);
  result = null;
  $("result").hidden = true;
  list.setCurrent(null);
}

async function showEntry(entry, { signal } = restart()) {
  const source = await imageSource(entry, threshold(), signal).catch((error) => {
    if (!signal.aborted) throw error;
  });
  if (!signal.aborted) show({ entry, ...source });
  else if (source?.url) URL.revokeObjectURL(source.url);
}

function show(newResult) {
  if (result) URL.revokeObjectURL(result.url);
  result = newResult;
  resultView.show({ image: result.entry.image, ...result });
  list.setCurrent(result.entry);
  saving.show(result.entry);
}

// An annotated image has labels for the emotions above the threshold, so a new threshold requires
// a new image.
async function redraw() {
  const current = result;
  if (!current?.isAnnotated || !current.url) return;
  redraws += 1;
  const number = redraws;
  const isNewest = () => result === current && number === redraws;
  try {
    const url = await fetchAnnotated(current.entry, threshold());
    if (!isNewest()) return void URL.revokeObjectURL(url);
    URL.revokeObjectURL(current.url);
    current.url = url;
    $("image").querySelector("img").src = url;
  } catch (error) {
    if (isNewest()) showError(error);
  }
}

// Request the mood of a stored image from the service. Analyse other images again.
async function requestMood() {
  const { image, file, name, options: used } = result.entry;
  if (image.id) return mood.moodOf(image);
  const unstored = { ...used, ...mood.selectedOption(), store: "false" };
  return (await read(await analyse(file, name, unstored))).mood;
}

function applyThreshold() {
  $("threshold-value").textContent = `${Math.round(100 * threshold())} %`;
  if (result) resultView.applyThreshold();
}

async function download() {
  const { entry } = result;
  try {
    const response = await annotated(entry, threshold(), "image/png");
    await save(response, `${entry.image.file_name.replace(/\.\w+$/, "")}-faces.png`);
  } catch (error) {
    showError(error);
  }
}

// Analyse page: choose an image and show its faces.

import { analyse, element, read, save } from "./api.js";
import { captureFrame, closeCamera, openCamera } from "./camera.js";
import { loadChoices, selectedOptions } from "./choices.js";
import { applyToBox, applyToCard, box, card } from "./faces.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
// Browsers report no type for files of some formats that the service supports.
const IMAGE_NAME = /\.(jpe?g|png|webp|bmp|tiff?|gif|hei[cf]s?|hif|avif)$/i;
const isImage = ({ type, name }) => type.startsWith("image/") || (!type && IMAGE_NAME.test(name));

let result = null; // {file, name, image, url, isAnnotated}: the result on the page
let running = null; // AbortController of the current request
let redraws = 0; // counts requests for annotated images, so that only the newest is shown

export function start() {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) analyseFile($("file").files[0]);
    $("file").value = ""; // allow the user to choose the same file again
  });
  acceptDrops();
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(isImage);
    if (file) analyseFile(file);
  });
  $("camera").addEventListener("click", useCamera);
  $("threshold").addEventListener("input", applyThreshold);
  $("threshold").addEventListener("change", redraw);
  $("download").addEventListener("click", download);
  mood.start(requestMood);
  for (const list of [$("faces"), $("image")]) {
    for (const kind of ["pointerover", "focusin"]) list.addEventListener(kind, highlightPointed);
    for (const kind of ["pointerout", "focusout"]) list.addEventListener(kind, clearHighlight);
  }
}

/** Analyse the same image again with the current options. */
export function analyseAgain() {
  if (result) analyseFile(result.file, result.name);
}

function options() {
  const store = String($("store").checked);
  const threshold = $("threshold").value;
  return { ...selectedOptions(), ...mood.selectedOption(), threshold, store };
}

// Input: drag and drop, and the camera.

function acceptDrops() {
  const drop = $("drop");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.remove("over");
    });
  }
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) analyseFile(file);
  });
}

async function useCamera() {
  const [dialog, video] = [$("camera-dialog"), $("video")];
  try {
    await openCamera(video);
  } catch (error) {
    showError(error);
    return;
  }
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "take" && video.videoWidth) {
    analyseFile(await captureFrame(video), "camera.jpg");
  }
  closeCamera(video);
}

// Request and result.

async function analyseFile(file, name = file.name) {
  if (document.getElementById("analyse").hidden) location.hash = "analyse";
  running?.abort();
  const controller = new AbortController();
  running = controller;
  showError(null);
  $("progress").textContent = `Analysing ${name || "the image"} …`;
  $("progress").hidden = false;
  try {
    await loadChoices();
    const response = await analyse(file, name, options(), { signal: controller.signal });
    const image = await read(response);
    const source = await imageSource(file, name, image, controller.signal);
    if (running === controller) show({ file, name, image, ...source });
    else if (source.url) URL.revokeObjectURL(source.url);
  } catch (error) {
    if (error.name === "AbortError" || running !== controller) return; // a newer request runs
    $("result").hidden = true;
    result = null;
    showError(error);
  } finally {
    if (running === controller) $("progress").hidden = true;
  }
}

/** Show an error; null hides it. */
export function showError(error) {
  $("problem").hidden = error === null;
  $("problem").textContent = error?.message ?? "";
}

function show(newResult) {
  if (result) URL.revokeObjectURL(result.url);
  result = newResult;
  const { image, url, isAnnotated, reason } = result;
  const threshold = Number($("threshold").value);
  const alt = `The image ${image.file_name}`;
  const view = url ? element("img", { src: url, alt }) : element("div", { className: "sketch" });
  view.style.setProperty("--ratio", image.width / image.height);
  $("image").classList.toggle("annotated", isAnnotated && Boolean(url));
  $("image-note").hidden = !isAnnotated;
  $("image-note").textContent = url
    ? "This browser cannot show the file, so the page shows the annotated image of the service."
    : `This browser cannot show the file. ${reason}`;
  $("image").replaceChildren(view, ...image.faces.map((face) => box(face, image, threshold)));
  $("faces").replaceChildren(...image.faces.map((face) => card(face, threshold)));
  $("faces").classList.toggle("several", image.faces.length > 2);
  $("faces").classList.toggle("many", image.faces.length > 8);
  const duration = Object.values(image.timings_ms).reduce((sum, each) => sum + each, 0);
  $("caption").textContent = [
    image.file_name,
    `${image.width} × ${image.height}`,
    countFaces(image.faces.length),
    `${Math.round(duration)} ms`,
    image.id ? `stored as ${image.id}` : "not stored",
  ].join(" · ");
  if (!image.faces.length) {
    $("faces").replaceChildren(
      element("li", { className: "empty" }, "No faces found in this image."),
    );
  }
  $("threshold-line").hidden = !image.faces.length;
  mood.show(image.mood);
  $("result").hidden = false;
}

const countFaces = (count) => (count === 1 ? "1 face" : `${count || "no"} faces`);

// Use the file if the browser decodes it to the same width and height as the service. Otherwise,
// for example if the browser does not support the format, use the annotated image of the service.
async function imageSource(file, name, image, signal) {
  const url = URL.createObjectURL(file);
  const preview = element("img", { src: url });
  try {
    await preview.decode();
    if (preview.naturalWidth === image.width && preview.naturalHeight === image.height) {
      return { url, isAnnotated: false };
    }
  } catch {
    // This browser cannot decode the file.
  }
  URL.revokeObjectURL(url);
  try {
    return { url: await fetchAnnotated(file, name, signal), isAnnotated: true };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { url: null, isAnnotated: true, reason: error.message };
  }
}

async function fetchAnnotated(file, name, signal) {
  const unstored = { ...options(), store: "false" };
  const response = await analyse(file, name, unstored, { accept: "image/jpeg", signal });
  return URL.createObjectURL(await response.blob());
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
    const url = await fetchAnnotated(current.file, current.name);
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
  const { image, file, name } = result;
  if (image.id) return mood.moodOf(image);
  return (await read(await analyse(file, name, { ...options(), store: "false" }))).mood;
}

function applyThreshold() {
  const threshold = Number($("threshold").value);
  $("threshold-value").textContent = `${Math.round(100 * threshold)} %`;
  if (!result) return;
  for (const face of result.image.faces) {
    applyToCard($("faces").querySelector(`[data-face="${face.face_id}"]`), face, threshold);
    applyToBox($("image").querySelector(`[data-face="${face.face_id}"]`), face, threshold);
  }
}

const highlightPointed = ({ target }) =>
  highlightFace(target.closest("[data-face]")?.dataset.face ?? null);
const clearHighlight = () => highlightFace(null);

function highlightFace(faceId) {
  for (const each of document.querySelectorAll("#result [data-face]")) {
    each.classList.toggle("highlighted", each.dataset.face === faceId);
  }
}

async function download() {
  try {
    const unstored = { ...options(), store: "false" };
    const response = await analyse(result.file, result.name, unstored, { accept: "image/png" });
    await save(response, `${result.image.file_name.replace(/\.\w+$/, "")}-faces.png`);
  } catch (error) {
    showError(error);
  }
}

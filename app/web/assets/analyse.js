// The page Analyse: choose an image, see its faces.

import { analyse, element, read, save } from "./api.js";
import { closeCamera, openCamera, photograph } from "./camera.js";
import { chosen, fill } from "./choices.js";
import { applyToBox, applyToCard, box, card } from "./faces.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
// Browsers do not know the type of some files that the service reads.
const IMAGE_NAME = /\.(jpe?g|png|webp|bmp|tiff?|gif|hei[cf]s?|hif|avif)$/i;
const isImage = ({ type, name }) => type.startsWith("image/") || (!type && IMAGE_NAME.test(name));

let shown = null; // {file, name, image, url, drawn}: the result on the page
let running = null; // AbortController of the current request
let draws = 0; // numbers the requests for drawings, so that an older one does not replace a newer one

export function start() {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) analyseFile($("file").files[0]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  takeDrops();
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(isImage);
    if (file) analyseFile(file);
  });
  $("camera").addEventListener("click", useCamera);
  $("threshold").addEventListener("input", applyThreshold);
  $("threshold").addEventListener("change", drawAgain);
  $("download").addEventListener("click", download);
  mood.start(anotherMood);
  for (const list of [$("faces"), $("picture")]) {
    for (const kind of ["pointerover", "focusin"]) list.addEventListener(kind, highlight);
    for (const kind of ["pointerout", "focusout"]) list.addEventListener(kind, () => mark(null));
  }
}

/** Analyse the same image again, with the current options. */
export function again() {
  if (shown) analyseFile(shown.file, shown.name);
}

function options() {
  const store = String($("store").checked);
  return { ...chosen(), ...mood.chosen(), threshold: $("threshold").value, store };
}

// Ways to choose an image.

function takeDrops() {
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
    say(error);
    return;
  }
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "take" && video.videoWidth) {
    analyseFile(await photograph(video), "camera.jpg");
  }
  closeCamera(video);
}

// Request and result.

async function analyseFile(file, name = file.name) {
  if (document.getElementById("analyse").hidden) location.hash = "analyse";
  running?.abort();
  const mine = new AbortController();
  running = mine;
  say(null);
  $("progress").textContent = `Analysing ${name || "the image"} …`;
  $("progress").hidden = false;
  try {
    await fill();
    const response = await analyse(file, name, options(), { signal: mine.signal });
    const image = await read(response);
    const visibly = await visible(file, name, image, mine.signal);
    if (running === mine) show({ file, name, image, ...visibly });
    else if (visibly.url) URL.revokeObjectURL(visibly.url);
  } catch (error) {
    if (error.name === "AbortError" || running !== mine) return; // there is a newer request
    $("result").hidden = true;
    shown = null;
    say(error);
  } finally {
    if (running === mine) $("progress").hidden = true;
  }
}

/** Show an error. null hides it. */
export function say(error) {
  $("problem").hidden = error === null;
  $("problem").textContent = error?.message ?? "";
}

function show(what) {
  if (shown) URL.revokeObjectURL(shown.url);
  shown = what;
  const { image, url, drawn } = shown;
  const threshold = Number($("threshold").value);
  const alt = `The image ${image.file_name}`;
  const picture = url ? element("img", { src: url, alt }) : element("div", { className: "sketch" });
  picture.style.setProperty("--ratio", image.width / image.height);
  $("picture").classList.toggle("drawn", drawn && Boolean(url));
  $("picture-note").hidden = !drawn;
  $("picture-note").textContent = url
    ? "This browser cannot show the file, so the service has drawn it."
    : `This browser cannot show the file. ${what.reason}`;
  $("picture").replaceChildren(picture, ...image.faces.map((face) => box(face, image, threshold)));
  $("faces").replaceChildren(...image.faces.map((face) => card(face, threshold)));
  $("faces").classList.toggle("several", image.faces.length > 2);
  $("faces").classList.toggle("many", image.faces.length > 8);
  const spent = Object.values(image.timings_ms).reduce((sum, each) => sum + each, 0);
  $("caption").textContent = [
    image.file_name,
    `${image.width} × ${image.height}`,
    count(image.faces.length),
    `${Math.round(spent)} ms`,
    image.id ? `stored as ${image.id}` : "not stored",
  ].join(" · ");
  if (!image.faces.length) {
    $("faces").replaceChildren(
      element("li", { className: "empty" }, "No face was found in this image."),
    );
  }
  $("threshold-line").hidden = !image.faces.length;
  mood.show(image.mood);
  $("result").hidden = false;
}

const count = (faces) => (faces === 1 ? "1 face" : `${faces || "no"} faces`);

// The file itself, if the browser shows it in the size that the service has found. Otherwise, for
// example for a format that the browser does not know, the annotated image of the service.
async function visible(file, name, image, signal) {
  const url = URL.createObjectURL(file);
  const tried = element("img", { src: url });
  try {
    await tried.decode();
    if (tried.naturalWidth === image.width && tried.naturalHeight === image.height) {
      return { url, drawn: false };
    }
  } catch {
    // This browser cannot decode it.
  }
  URL.revokeObjectURL(url);
  try {
    return { url: await drawnBy(file, name, signal), drawn: true };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return { url: null, drawn: true, reason: error.message };
  }
}

async function drawnBy(file, name, signal) {
  const again = { ...options(), store: "false" };
  const response = await analyse(file, name, again, { accept: "image/jpeg", signal });
  return URL.createObjectURL(await response.blob());
}

// An annotated image shows the emotions that reach the threshold, so a new threshold needs a new one.
async function drawAgain() {
  const before = shown;
  if (!before?.drawn || !before.url) return;
  draws += 1;
  const mine = draws;
  const isNewest = () => shown === before && mine === draws;
  try {
    const url = await drawnBy(before.file, before.name);
    if (!isNewest()) return void URL.revokeObjectURL(url);
    URL.revokeObjectURL(before.url);
    before.url = url;
    $("picture").querySelector("img").src = url;
  } catch (error) {
    if (isNewest()) say(error);
  }
}

// The service has the faces of stored images. Other images are analysed again.
async function anotherMood() {
  const { image, file, name } = shown;
  if (image.id) return mood.moodOf(image);
  return (await read(await analyse(file, name, { ...options(), store: "false" }))).mood;
}

function applyThreshold() {
  const threshold = Number($("threshold").value);
  $("threshold-shown").textContent = `${Math.round(100 * threshold)} %`;
  if (!shown) return;
  for (const face of shown.image.faces) {
    applyToCard($("faces").querySelector(`[data-face="${face.face_id}"]`), face, threshold);
    applyToBox($("picture").querySelector(`[data-face="${face.face_id}"]`), face, threshold);
  }
}

function highlight(event) {
  mark(event.target.closest("[data-face]")?.dataset.face ?? null);
}

function mark(number) {
  for (const each of document.querySelectorAll("#result [data-face]")) {
    each.classList.toggle("marked", each.dataset.face === number);
  }
}

async function download() {
  try {
    const again = { ...options(), store: "false" };
    const drawn = await analyse(shown.file, shown.name, again, { accept: "image/png" });
    await save(drawn, `${shown.image.file_name.replace(/\.\w+$/, "")}-faces.png`);
  } catch (error) {
    say(error);
  }
}

// The first page: choose a picture, look at its faces.

import { analyse, element, read, save } from "./api.js";
import { closeCamera, openCamera, photograph } from "./camera.js";
import { chosen, fill } from "./choices.js";
import { applyToBox, applyToCard, box, card } from "./faces.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
const SHOWABLE = /^image\/(jpeg|png|webp|bmp|gif)$/;

let shown = null; // {file, name, image}: what is on the page
let running = null; // AbortController of the request under way

export function start() {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) analyseFile($("file").files[0]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  takeDrops();
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) analyseFile(file);
  });
  $("camera").addEventListener("click", useCamera);
  $("threshold").addEventListener("input", applyThreshold);
  $("download").addEventListener("click", download);
  mood.start(anotherMood);
  for (const list of [$("faces"), $("picture")]) {
    for (const kind of ["pointerover", "focusin"]) list.addEventListener(kind, highlight);
    for (const kind of ["pointerout", "focusout"]) list.addEventListener(kind, () => mark(null));
  }
}

/** Look at the same picture anew, as it is chosen now. */
export function again() {
  if (shown) analyseFile(shown.file, shown.name);
}

function options() {
  const store = String($("store").checked);
  return { ...chosen(), threshold: $("threshold").value, mood: mood.aggregator(), store };
}

// Ways to give a picture.

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

// Ask, and show.

async function analyseFile(file, name = file.name) {
  if (document.getElementById("analyse").hidden) location.hash = "analyse";
  running?.abort();
  const mine = new AbortController();
  running = mine;
  say(null);
  $("progress").textContent = `Looking at ${name || "the picture"} …`;
  $("progress").hidden = false;
  try {
    await fill();
    const response = await analyse(file, name, options(), { signal: mine.signal });
    await show({ file, name, image: await read(response) });
  } catch (error) {
    if (error.name === "AbortError") return; // another picture came
    $("result").hidden = true;
    shown = null;
    say(error);
  } finally {
    if (running === mine) $("progress").hidden = true;
  }
}

/** Show what went wrong, or with null nothing. */
export function say(error) {
  $("problem").hidden = error === null;
  $("problem").textContent = error?.message ?? "";
}

async function show(what) {
  if (shown) URL.revokeObjectURL(shown.url);
  shown = { ...what, url: URL.createObjectURL(await visible(what)) };
  const { image, url } = shown;
  const threshold = Number($("threshold").value);
  const picture = element("img", { src: url, alt: `The picture ${image.file_name}` });
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
    image.id ? `kept as ${image.id}` : "not kept",
  ].join(" · ");
  if (!image.faces.length) {
    $("faces").replaceChildren(
      element("li", { className: "empty" }, "No face was found in this picture."),
    );
  }
  $("threshold-line").hidden = !image.faces.length;
  mood.show(image.mood);
  $("result").hidden = false;
}

const count = (faces) => (faces === 1 ? "1 face" : `${faces || "no"} faces`);

// What browsers cannot show, the service can draw.
async function visible({ file, name }) {
  if (SHOWABLE.test(file.type)) return file;
  const again = { ...options(), store: "false" };
  return (await analyse(file, name, again, { accept: "image/png" })).blob();
}

// Of what is stored the service knows the faces; other pictures it has to see again.
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

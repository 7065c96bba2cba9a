// The first page: choose a picture, look at its faces.

import { Problem, analyse, element, get, save } from "./api.js";
import { applyToBox, applyToCard, box, card } from "./faces.js";

const $ = (id) => document.getElementById(id);
const SHOWABLE = /^image\/(jpeg|png|webp|bmp|gif)$/;

let shown = null; // {file, name, image}: what is on the page
let running = null; // AbortController of the request under way

export async function start() {
  $("file").addEventListener("change", () => {
    if ($("file").files.length) analyseFile($("file").files[0]);
    $("file").value = ""; // so that the same file can be chosen again
  });
  takeDrops();
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) analyseFile(file);
  });
  $("camera").addEventListener("click", photograph);
  $("threshold").addEventListener("input", applyThreshold);
  $("download").addEventListener("click", download);
  for (const select of [$("pipeline"), $("detector"), $("model")]) {
    select.addEventListener("change", () => {
      offerFitting();
      if (shown) analyseFile(shown.file, shown.name);
    });
  }
  for (const list of [$("faces"), $("picture")]) {
    for (const kind of ["pointerover", "focusin"]) list.addEventListener(kind, highlight);
    for (const kind of ["pointerout", "focusout"]) list.addEventListener(kind, () => mark(null));
  }
  try {
    await offerChoices();
  } catch (error) {
    say(error);
  }
}

// Choices, as the service names them.

let pipelines = [];
let models = [];

async function offerChoices() {
  const [itsPipelines, itsDetectors, itsModels] = await Promise.all([
    get("/v1/pipelines"),
    get("/v1/detectors"),
    get("/v1/models"),
  ]);
  ({ pipelines } = itsPipelines);
  models = itsModels.models.filter((each) => each.ready);
  offer($("pipeline"), pipelines);
  offer($("detector"), itsDetectors.detectors.filter((each) => each.ready));
  offerFitting();
}

function offer(select, things) {
  const options = things.map((each) => {
    const made = element("option", { value: each.name, selected: each.default });
    made.append(each.name.replaceAll("_", " "));
    made.title = each.description ?? "";
    return made;
  });
  select.replaceChildren(...options);
}

// One-pass networks are their own detector, and each pipeline has its own models.
function offerFitting() {
  const pipeline = pipelines.find((each) => each.name === $("pipeline").value);
  if (!pipeline) return;
  $("detector").disabled = pipeline.models !== "classifier";
  const fitting = models.filter((each) => each.kind === pipeline.models);
  if (fitting.some((each) => each.name === $("model").value)) return;
  offer($("model"), fitting);
}

function options() {
  const chosen = {
    pipeline: $("pipeline").value,
    model: $("model").value,
    threshold: $("threshold").value,
    store: String($("store").checked),
  };
  if (!$("detector").disabled) chosen.detector = $("detector").value;
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== ""));
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

async function photograph() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch {
    say(new Problem("The camera cannot be used: allow it in the browser, or choose a picture."));
    return;
  }
  const [dialog, video] = [$("camera-dialog"), $("video")];
  video.srcObject = stream;
  dialog.returnValue = "cancel";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue === "take" && video.videoWidth) {
    const canvas = element("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((picture) => analyseFile(picture, "camera.jpg"), "image/jpeg", 0.92);
  }
  for (const track of stream.getTracks()) track.stop();
  video.srcObject = null;
}

// Ask, and show.

async function analyseFile(file, name = file.name) {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  say(null);
  $("progress").textContent = `Looking at ${name || "the picture"} …`;
  $("progress").hidden = false;
  try {
    const response = await analyse(file, name, options(), { signal: mine.signal });
    await show({ file, name, image: await response.json() });
  } catch (error) {
    if (error.name === "AbortError") return; // another picture came
    $("result").hidden = true;
    shown = null;
    say(error);
  } finally {
    if (running === mine) $("progress").hidden = true;
  }
}

function say(error) {
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
  $("result").hidden = false;
}

const count = (faces) => (faces === 1 ? "1 face" : `${faces || "no"} faces`);

// What browsers cannot show, the service can draw.
async function visible({ file, name }) {
  if (SHOWABLE.test(file.type)) return file;
  const again = { ...options(), store: "false" };
  return (await analyse(file, name, again, { accept: "image/png" })).blob();
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

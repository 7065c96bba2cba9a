// Live page: analyse the frames of the camera and show the last minute as a timeline.

import { Problem, analyse, delay, read } from "./api.js";
import { captureFrame, closeCamera, nextFrame, openCamera } from "./camera.js";
import { area, axis, rowsIn } from "./chart.js";
import { loadChoices, selectedLabels, selectedOptions } from "./choices.js";
import { outline, percent } from "./faces.js";
import * as labels from "./labels.js";

const $ = (id) => document.getElementById(id);
const FRAME = { width: 960, quality: 0.85 }; // width in pixels, JPEG quality
const TIMEOUT = 35; // seconds; the service itself stops after 30
const MAX_WAIT = 15; // seconds between retries
const SPAN = 60; // seconds of the timeline
const STEP = 0.5; // seconds; the timeline shows the mean of each step
const MAX_GAP = 3; // seconds without a frame; a longer gap interrupts the timeline
const MAX_DESCRIBED = 4; // faces in the text

let running = null; // AbortController while the camera runs
let paused = false; // true if the camera was stopped because the tab is hidden
let rowsOf;
let responses = []; // {at, took} of recent responses: time and duration, in seconds
let steps = []; // {at, count, sums} of the timeline; sums is a Map by label, empty without faces
let nextUpdates = {}; // time in seconds of the next update of each throttled output

export function start() {
  rowsOf = rowsIn($("live-rows"));
  $("live-rows").append(axis([[0, "60 s ago"], [0.5, "30 s"], [1, "now"]]));
  $("live-toggle").addEventListener("click", () => {
    if (running) stop();
    else run();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && running) {
      stop();
      paused = true;
    } else if (!document.hidden && paused) {
      run();
    }
  });
}

/** Show the labels of the selected model, unless the camera runs. */
export function showLabels() {
  if (running) return;
  for (const { path, number } of rowsOf(selectedLabels()).values()) {
    path.setAttribute("d", "");
    number.textContent = "";
  }
}

/** Stop the camera. Also called when the user leaves the page. */
export function stop() {
  running?.abort();
  running = null;
  paused = false;
  closeCamera($("live-video"));
  clearOutput();
  showWaiting("");
  updateControls();
}

function clearOutput() {
  $("live-boxes").replaceChildren();
  $("live-rate").textContent = "";
  $("live-text").textContent = "";
}

function updateControls() {
  $("live-toggle").textContent = running ? "Stop" : "Start the camera";
  $("live-toggle").classList.toggle("primary", !running);
  $("live").classList.toggle("running", Boolean(running));
}

async function run() {
  const controller = new AbortController();
  running = controller;
  paused = false;
  [responses, steps] = [[], []];
  nextUpdates = { text: performance.now() / 1000 + 1 }; // the first frames are often dark
  showError("");
  updateControls();
  // Without the choices, the service uses its defaults.
  const choicesLoaded = loadChoices().catch(() => {});
  const onEnd = () => fail(new Problem("The camera was disconnected."));
  try {
    await openCamera($("live-video"), { signal: controller.signal, onEnd });
    await choicesLoaded;
    await analyseFrames(controller.signal);
  } catch (error) {
    if (running === controller) fail(error);
  }
}

function fail(error) {
  stop();
  showError(error.message);
}

// Send one frame at a time: wait for the response before the next frame.
async function analyseFrames(signal) {
  const video = $("live-video");
  let failures = 0;
  while (!signal.aborted) {
    await nextFrame(video);
    if (signal.aborted) return;
    try {
      const start = performance.now();
      const options = { ...selectedOptions(), store: String($("live-store").checked) };
      const frame = await captureFrame(video, FRAME);
      const requestOptions = { signal, maxTries: 1, timeout: TIMEOUT };
      const image = await read(await analyse(frame, "live.jpg", options, requestOptions));
      failures = 0;
      showWaiting("");
      show(image, (performance.now() - start) / 1000);
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      failures += 1;
      const seconds = error.retryAfter ?? Math.min(2 ** (failures - 1), MAX_WAIT);
      clearOutput();
      showWaiting(`${error.message} Retrying in ${seconds} s.`);
      await delay(seconds);
    }
  }
}

// No response, rate limit, or server error.
const isTransient = ({ status }) => status === 0 || status === 429 || status >= 500;

function showError(text) {
  $("live-problem").hidden = !text;
  $("live-problem").textContent = text;
}

function showWaiting(text) {
  $("live-wait").hidden = !text;
  $("live-wait").textContent = text;
}

function show(image, took) {
  const label = (face) => `${face.dominant} ${percent(face.emotions[face.dominant])}`;
  $("live-boxes").replaceChildren(...image.faces.map((face) => outline(face, image, label(face))));
  $("live-stage").style.setProperty("--ratio", image.width / image.height);
  const now = performance.now() / 1000;
  responses = [...responses.filter(({ at }) => at > now - MAX_GAP), { at: now, took }];
  addToTimeline(image.faces, now);
  throttle("rate", 0.5, now, () => {
    const rate = responses.length > 1 ? (responses.length - 1) / (now - responses[0].at) : 0;
    const mean = responses.reduce((sum, each) => sum + each.took, 0) / responses.length;
    $("live-rate").textContent =
      `${rate.toFixed(1)} frames per second · ${Math.round(1000 * mean)} ms per frame`;
  });
  throttle("timeline", 0.25, now, () => drawTimeline(now));
  // Screen readers read every change of the text aloud, so it changes rarely.
  throttle("text", 4, now, () => {
    const parts = image.faces.slice(0, MAX_DESCRIBED).map(label);
    const others = image.faces.length - parts.length;
    if (others) parts.push(`and ${others} more`);
    const count = image.faces.length === 1 ? "1 face" : `${image.faces.length} faces`;
    $("live-text").textContent = parts.length ? `${count}: ${parts.join(", ")}` : "No faces found";
  });
}

function throttle(output, seconds, now, update) {
  if (now < (nextUpdates[output] ?? 0)) return;
  nextUpdates[output] = now + seconds;
  update();
}

// Add the mean over the faces of a frame to the current step.
function addToTimeline(faces, now) {
  const at = STEP * Math.floor(now / STEP);
  if (steps.at(-1)?.at !== at) steps.push({ at, count: 0, sums: new Map() });
  const { sums } = steps.at(-1);
  if (faces.length) steps.at(-1).count += 1;
  for (const { emotions } of faces) {
    for (const [label, probability] of Object.entries(emotions)) {
      sums.set(label, (sums.get(label) ?? 0) + probability / faces.length);
    }
  }
  while (steps[0].at < now - SPAN) steps.shift();
}

function drawTimeline(now) {
  const seen = labels.inOrder(steps.flatMap(({ sums }) => [...sums.keys()]));
  for (const [label, { path, number }] of rowsOf(seen.length ? seen : selectedLabels())) {
    const points = [];
    let previous = now - SPAN;
    for (const { at, count, sums } of steps) {
      const mean = (sums.get(label) ?? 0) / count;
      if (!count || at - previous > MAX_GAP) points.push(null);
      if (count) points.push([Math.max(0, 1 - (now - at) / SPAN), mean]);
      previous = at;
    }
    path.setAttribute("d", area(points));
    const last = steps.at(-1);
    number.textContent = last.count ? percent((last.sums.get(label) ?? 0) / last.count) : "–";
  }
}

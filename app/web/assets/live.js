// The page Live: analyses the frames of the camera, and shows the last minute as a timeline.

import { Problem, analyse, delay, read } from "./api.js";
import { closeCamera, nextFrame, openCamera, photograph } from "./camera.js";
import { area, axis, rowsIn } from "./chart.js";
import { chosen, chosenLabels, fill } from "./choices.js";
import { outline, percent } from "./faces.js";
import * as labels from "./labels.js";

const $ = (id) => document.getElementById(id);
const FRAME = { width: 960, quality: 0.85 }; // pixels
const PATIENCE = 35; // seconds for an answer; the service itself stops after 30
const LONGEST_WAIT = 15; // seconds between tries while the service is away
const SPAN = 60; // seconds that the timeline shows
const STEP = 0.5; // seconds of which the timeline shows the mean
const GAP = 3; // seconds without a frame that interrupt the timeline
const NAMED = 4; // faces that the text describes

let running = null; // AbortController of what runs
let paused = false; // while the tab is hidden
let rowsOf;
let answers = []; // {at, took}: the times of the last answers and their durations, in seconds
let steps = []; // {at, count, sums} of the timeline; sums is a Map by label, empty without faces
let due = {}; // the next time of each throttled output, in seconds

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

/** Show the labels of the chosen model, unless the camera runs. */
export function showLabels() {
  if (running) return;
  for (const { path, number } of rowsOf(chosenLabels()).values()) {
    path.setAttribute("d", "");
    number.textContent = "";
  }
}

/** Release the camera. Also called when another page is shown. */
export function stop() {
  running?.abort();
  running = null;
  paused = false;
  closeCamera($("live-video"));
  forget();
  wait("");
  turn();
}

function forget() {
  $("live-boxes").replaceChildren();
  $("live-rate").textContent = "";
  $("live-words").textContent = "";
}

function turn() {
  $("live-toggle").textContent = running ? "Stop" : "Start the camera";
  $("live-toggle").classList.toggle("primary", !running);
  $("live").classList.toggle("running", Boolean(running));
}

async function run() {
  const mine = new AbortController();
  running = mine;
  paused = false;
  [answers, steps] = [[], []];
  due = { words: performance.now() / 1000 + 1 }; // the first frames of a camera are dark
  say("");
  turn();
  fill().catch(() => {}); // without the choices, the service's defaults apply
  const onEnd = () => fail(new Problem("The camera stopped. Is it still connected?"));
  try {
    await openCamera($("live-video"), { signal: mine.signal, onEnd });
    await watch(mine.signal);
  } catch (error) {
    if (running === mine) fail(error);
  }
}

function fail(error) {
  stop();
  say(error.message);
}

// A frame is sent after the answer to the previous one, so there is one request at a time.
async function watch(signal) {
  const video = $("live-video");
  let failures = 0;
  while (!signal.aborted) {
    await nextFrame(video);
    if (signal.aborted) return;
    try {
      const began = performance.now();
      const options = { ...chosen(), store: String($("live-store").checked) };
      const frame = await photograph(video, FRAME);
      const how = { signal, tries: 1, seconds: PATIENCE };
      const image = await read(await analyse(frame, "live.jpg", options, how));
      failures = 0;
      wait("");
      show(image, (performance.now() - began) / 1000);
    } catch (error) {
      if (signal.aborted) return;
      if (!passes(error)) throw error;
      failures += 1;
      const seconds = error.retryAfter ?? Math.min(2 ** (failures - 1), LONGEST_WAIT);
      forget();
      wait(`${error.message} The page tries again in ${seconds} s.`);
      await delay(seconds);
    }
  }
}

// The service is away, limits the rate, or has an error of its own.
const passes = ({ status }) => status === 0 || status === 429 || status >= 500;

function say(text) {
  $("live-problem").hidden = !text;
  $("live-problem").textContent = text;
}

function wait(text) {
  $("live-wait").hidden = !text;
  $("live-wait").textContent = text;
}

function show(image, took) {
  const label = (face) => `${face.dominant} ${percent(face.emotions[face.dominant])}`;
  $("live-boxes").replaceChildren(...image.faces.map((face) => outline(face, image, label(face))));
  $("live-stage").style.setProperty("--ratio", image.width / image.height);
  const now = performance.now() / 1000;
  answers = [...answers.filter(({ at }) => at > now - GAP), { at: now, took }];
  note(image.faces, now);
  every(0.5, "rate", now, () => {
    const rate = answers.length > 1 ? (answers.length - 1) / (now - answers[0].at) : 0;
    const mean = answers.reduce((sum, each) => sum + each.took, 0) / answers.length;
    $("live-rate").textContent =
      `${rate.toFixed(1)} frames per second · ${Math.round(1000 * mean)} ms each`;
  });
  every(0.25, "timeline", now, () => drawTimeline(now));
  // Rarely, because screen readers read it aloud.
  every(4, "words", now, () => {
    const named = image.faces.slice(0, NAMED).map(label);
    const others = image.faces.length - named.length;
    if (others) named.push(`and ${others} more`);
    const count = image.faces.length === 1 ? "1 face" : `${image.faces.length} faces`;
    const words = named.length ? `${count}: ${named.join(", ")}` : "No faces";
    $("live-words").textContent = words;
  });
}

function every(seconds, what, now, work) {
  if (now < (due[what] ?? 0)) return;
  due[what] = now + seconds;
  work();
}

// Add the mean of the faces of a frame to the current step.
function note(faces, now) {
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
  for (const [label, { path, number }] of rowsOf(seen.length ? seen : chosenLabels())) {
    const points = [];
    let before = now - SPAN;
    for (const { at, count, sums } of steps) {
      const mean = (sums.get(label) ?? 0) / count;
      if (!count || at - before > GAP) points.push(null);
      if (count) points.push([Math.max(0, 1 - (now - at) / SPAN), mean]);
      before = at;
    }
    path.setAttribute("d", area(points));
    const last = steps.at(-1);
    number.textContent = last.count ? percent((last.sums.get(label) ?? 0) / last.count) : "–";
  }
}

// Chart of stored emotions over time, for the same filters as the list of results.

import { element, get } from "./api.js";
import { axis, bars, rowsIn } from "./chart.js";
import { percent } from "./faces.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
const HOUR = 3_600_000; // ms
const LENGTH = { hour: HOUR, day: 24 * HOUR };
const MIN_SPANS = 8; // on the axis, so that a single bar does not fill the row
const MAX_HOURLY = 3 * LENGTH.day; // time ranges up to this length have a bar per hour by default
const TICKS = 4;
const MAX_WITHOUT_DATES = 1.5 * LENGTH.day; // up to this length, the axis has no dates

let rowsOf;
let emotions = []; // the labels of the spans, in order
let spans = [];
let moods = new Map(); // the mood label by the name of the span
let scale = null; // {from, to, by}: times in ms
let isByChosen = false; // true after the user selected hour or day
let loads = 0; // counts requests, so that only the newest response is shown
let reload = () => {};

/** `onChange` is called when the user selects hour or day. */
export function start(onChange) {
  reload = onChange;
  rowsOf = rowsIn($("summary-rows"));
  $("summary-by").addEventListener("change", () => {
    isByChosen = true;
    reload();
  });
  $("summary-rows").addEventListener("pointermove", showPointedSpan);
  $("summary-rows").addEventListener("pointerleave", () => showNumbers(null));
  $("summary-numbers").addEventListener("toggle", fillTable);
}

/** Load and show the summary for a query of filters. Never throws. Shows only errors that are
 * specific to the summary (422); the list of results shows other errors. */
export async function load(query) {
  loads += 1;
  const number = loads;
  try {
    let by = isByChosen ? $("summary-by").value : "day";
    let newSpans = await request(query, by);
    if (!isByChosen && newSpans.length && lengthOf(newSpans, by) <= MAX_HOURLY) {
      by = "hour";
      newSpans = await request(query, by);
    }
    if (number !== loads) return;
    $("summary-by").value = by;
    $("summary-problem").hidden = true;
    show(newSpans, by);
    const withMoods = await requestMoods(query, by);
    if (number === loads) showMoods(withMoods);
  } catch (error) {
    if (number !== loads) return;
    $("summary-chart").hidden = true;
    $("summary").hidden = error.status !== 422;
    $("summary-problem").hidden = error.status !== 422;
    $("summary-problem").textContent = error.message;
  }
}

async function request(query, by, options = {}) {
  const parameters = new URLSearchParams(query);
  for (const [name, value] of Object.entries({ by, ...options })) parameters.set(name, value);
  return (await get(`/v1/summary?${parameters}`)).spans;
}

// The service limits the number of images in a summary with moods. Show no moods above the limit.
async function requestMoods(query, by) {
  try {
    return await request(query, by, mood.defaultOption());
  } catch (error) {
    if (error.status !== 422) throw error;
    return [];
  }
}

const startOf = ({ span }) => Date.parse(span); // days are UTC
const lengthOf = (list, by) => startOf(list.at(-1)) + LENGTH[by] - startOf(list[0]);

function show(newSpans, by) {
  spans = newSpans;
  moods.clear();
  $("summary").hidden = !spans.length;
  $("summary-chart").hidden = !spans.length;
  if (!spans.length) return;
  const to = startOf(spans.at(-1)) + LENGTH[by];
  scale = { by, to, from: Math.min(startOf(spans[0]), to - MIN_SPANS * LENGTH[by]) };
  const names = spans.flatMap((span) => Object.keys(span.emotions));
  emotions = names.length ? labels.inOrder(names) : labels.all();
  const rows = rowsOf(emotions);
  const counts = spans.flatMap((span) => emotions.map((emotion) => facesOf(span, emotion)));
  const maxCount = Math.max(1, ...counts);
  for (const emotion of emotions) {
    const rectangles = spans.map((span) => {
      const left = position(startOf(span));
      const width = Math.max(0.85 * (position(startOf(span) + LENGTH[by]) - left), 0.001);
      return [left, left + width, facesOf(span, emotion) / maxCount];
    });
    rows.get(emotion).path.setAttribute("d", bars(rectangles));
  }
  $("summary-rows").querySelector(".axis")?.remove();
  $("summary-rows").append(axis(ticks()));
  $("summary-scale").textContent =
    `Faces per dominant emotion, on a scale from 0 to ${countText(maxCount, "face")}.` +
    (by === "day" ? " Days are UTC." : "");
  showNumbers(null);
  fillTable();
}

/** Show a strip above the rows with the mood of each span. */
function showMoods(newSpans) {
  const withMood = newSpans.filter((span) => span.mood?.mood);
  $("summary-moods").hidden = !withMood.length;
  const strip = element("span", { className: "strip" });
  for (const span of withMood) {
    const start = startOf(span);
    const [left, right] = [position(start), position(start + LENGTH[scale.by])];
    const part = labels.paint(element("i"), span.mood.mood);
    part.title =
      `${timeText(start)}: ${span.mood.mood}, agreement ${percent(span.mood.agreement)}`;
    part.style.left = `${100 * left}%`;
    part.style.width = `${Math.max(85 * (right - left), 0.1)}%`;
    strip.append(part);
  }
  $("summary-moods").replaceChildren(element("span", {}, "mood"), strip);
  moods = new Map(withMood.map((span) => [span.span, span.mood.mood]));
  fillTable();
}

const facesOf = (span, emotion) => span.emotions[emotion]?.faces ?? 0;
const position = (time) => (time - scale.from) / (scale.to - scale.from); // 0 to 1
const countText = (count, noun) =>
  count === 1 ? `1 ${noun}` : `${count.toLocaleString()} ${noun}s`;

function timeText(time) {
  const day = { day: "numeric", month: "short" };
  if (scale.by === "day") return new Date(time).toLocaleDateString([], { ...day, timeZone: "UTC" });
  const hour = { hour: "numeric", minute: "2-digit" };
  return new Date(time).toLocaleString([], { ...day, ...hour });
}

function tickText(time) {
  if (scale.by === "day" || scale.to - scale.from > MAX_WITHOUT_DATES) return timeText(time);
  return new Date(time).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
}

function ticks() {
  const length = LENGTH[scale.by];
  const positions = new Map(); // by label, so that each label appears once
  for (let tick = 0; tick <= TICKS; tick += 1) {
    const offset = (tick / TICKS) * (scale.to - scale.from);
    const time = scale.from + length * Math.round(offset / length);
    positions.set(tickText(time), position(time));
  }
  return [...positions].map(([label, at]) => [at, label]);
}

// Show the numbers of a span, or with null the totals of all spans.
function showNumbers(pointed) {
  const counted = pointed ? [pointed] : spans;
  const sum = (value) => counted.reduce((total, span) => total + value(span), 0);
  for (const [emotion, { number }] of rowsOf(emotions)) {
    number.textContent = sum((span) => facesOf(span, emotion)).toLocaleString();
  }
  const title = pointed ? timeText(startOf(pointed)) : "Total";
  const images = countText(sum((span) => span.images), "image");
  const faces = countText(sum((span) => span.faces), "face");
  $("summary-text").textContent = `${title}: ${images}, ${faces}`;
  $("summary-rows").classList.toggle("pointed", Boolean(pointed));
  if (pointed) {
    const middle = position(startOf(pointed) + 0.425 * LENGTH[scale.by]);
    $("summary-rows").style.setProperty("--at", middle);
  }
}

function showPointedSpan(event) {
  const plot = $("summary-rows").querySelector(".plot")?.getBoundingClientRect();
  if (!plot) return;
  const share = (event.clientX - plot.left) / plot.width;
  const time = scale.from + share * (scale.to - scale.from);
  const contains = (start) => start <= time && time < start + LENGTH[scale.by];
  showNumbers(spans.find((span) => contains(startOf(span))) ?? null);
}

// The table can have thousands of rows, so it is filled only while it is open.
function fillTable() {
  if (!$("summary-numbers").open) return;
  const head = ["Time", "Images", "Faces", "Mood", ...emotions];
  $("summary-head").replaceChildren(
    element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))),
  );
  $("summary-body").replaceChildren(
    ...spans.map((span) => {
      const numbers = emotions.map((emotion) => {
        const entry = span.emotions[emotion];
        return entry ? `${entry.faces} (${percent(entry.mean_probability)})` : "–";
      });
      const time = element("th", { scope: "row" }, timeText(startOf(span)));
      const counts = [String(span.images), String(span.faces), moods.get(span.span) ?? "–"];
      const cells = [...counts, ...numbers].map((text) => element("td", {}, text));
      return element("tr", {}, time, ...cells);
    }),
  );
}

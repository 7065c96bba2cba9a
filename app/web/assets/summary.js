// The chart of stored emotions over time, for the same filters as the table of results.

import { element, get } from "./api.js";
import { axis, bars, rowsIn } from "./chart.js";
import { percent } from "./faces.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);
const HOUR = 3_600_000; // ms
const LENGTH = { hour: HOUR, day: 24 * HOUR };
const FEWEST = 8; // spans on the axis at least, so that a single bar does not fill the row
const SHORT = 3 * LENGTH.day; // up to this length, spans are hours by default
const TICKS = 4;
const SHORT_AXIS = 1.5 * LENGTH.day; // up to this length, the axis shows no dates

let rowsOf;
let emotions = []; // the labels of the spans, in order
let spans = [];
let moods = new Map(); // the name of each span's mood
let scale = null; // {from, to, by}: times in ms
let byChoice = false; // whether somebody chose between hour and day
let loads = 0;
let reload = () => {};

/** `again` is called when people choose between hours and days. */
export function start(again) {
  reload = again;
  rowsOf = rowsIn($("summary-rows"));
  $("summary-by").addEventListener("change", () => {
    byChoice = true;
    reload();
  });
  $("summary-rows").addEventListener("pointermove", point);
  $("summary-rows").addEventListener("pointerleave", () => write(null));
  $("summary-numbers").addEventListener("toggle", fillTable);
}

/** Show the counts for a query of filters. Never throws. An error that concerns the chart alone is
 * shown here; the table shows the others. */
export async function load(query) {
  loads += 1;
  const mine = loads;
  try {
    let by = byChoice ? $("summary-by").value : "day";
    let found = await ask(query, by);
    if (!byChoice && found.length && lengthOf(found, by) <= SHORT) {
      by = "hour";
      found = await ask(query, by);
    }
    if (mine !== loads) return;
    $("summary-by").value = by;
    $("summary-problem").hidden = true;
    show(found, by);
    const named = await askMoods(query, by);
    if (mine === loads) showMoods(named);
  } catch (error) {
    if (mine !== loads) return;
    $("summary-chart").hidden = true;
    $("summary").hidden = error.status !== 422;
    $("summary-problem").hidden = error.status !== 422;
    $("summary-problem").textContent = error.message;
  }
}

async function ask(query, by, more = {}) {
  const asked = new URLSearchParams(query);
  for (const [name, value] of Object.entries({ by, ...more })) asked.set(name, value);
  return (await get(`/v1/summary?${asked}`)).spans;
}

// The service limits the number of images of whose moods it takes the mean.
async function askMoods(query, by) {
  try {
    return await ask(query, by, mood.byDefault());
  } catch (error) {
    if (error.status !== 422) throw error;
    return [];
  }
}

const startOf = ({ span }) => Date.parse(span); // days are UTC
const lengthOf = (its, by) => startOf(its.at(-1)) + LENGTH[by] - startOf(its[0]);

function show(found, by) {
  spans = found;
  moods.clear();
  $("summary").hidden = !spans.length;
  $("summary-chart").hidden = !spans.length;
  if (!spans.length) return;
  const to = startOf(spans.at(-1)) + LENGTH[by];
  scale = { by, to, from: Math.min(startOf(spans[0]), to - FEWEST * LENGTH[by]) };
  const names = spans.flatMap((each) => Object.keys(each.emotions));
  emotions = names.length ? labels.inOrder(names) : labels.all();
  const rows = rowsOf(emotions);
  const highest = Math.max(1, ...spans.flatMap((each) => emotions.map((it) => facesOf(each, it))));
  for (const emotion of emotions) {
    const drawn = spans.map((each) => {
      const from = share(startOf(each));
      const wide = Math.max(0.85 * (share(startOf(each) + LENGTH[by]) - from), 0.001);
      return [from, from + wide, facesOf(each, emotion) / highest];
    });
    rows.get(emotion).path.setAttribute("d", bars(drawn));
  }
  $("summary-rows").querySelector(".axis")?.remove();
  $("summary-rows").append(axis(ticks()));
  $("summary-scale").textContent =
    `Each row goes from 0 to ${faces(highest)}, by the most probable emotion` +
    (by === "day" ? "; days are UTC." : ".");
  write(null);
  fillTable();
}

/** A strip above the rows: the mood of each span. */
function showMoods(found) {
  const named = found.filter((each) => each.mood?.mood);
  $("summary-moods").hidden = !named.length;
  const strip = element("span", { className: "strip" });
  for (const each of named) {
    const [from, to] = [share(startOf(each)), share(startOf(each) + LENGTH[scale.by])];
    const part = labels.paint(element("i"), each.mood.mood);
    part.title = `${inWords(startOf(each))}: ${each.mood.mood}, ` +
      `the faces agree by ${percent(each.mood.agreement)}`;
    part.style.left = `${100 * from}%`;
    part.style.width = `${Math.max(85 * (to - from), 0.1)}%`;
    strip.append(part);
  }
  $("summary-moods").replaceChildren(element("span", {}, "mood"), strip);
  moods = new Map(named.map((each) => [each.span, each.mood.mood]));
  fillTable();
}

const facesOf = (span, emotion) => span.emotions[emotion]?.faces ?? 0;
const share = (time) => (time - scale.from) / (scale.to - scale.from);
const faces = (count) => (count === 1 ? "1 face" : `${count.toLocaleString()} faces`);
const images = (count) => (count === 1 ? "1 image" : `${count.toLocaleString()} images`);

function inWords(time) {
  const day = { day: "numeric", month: "short" };
  if (scale.by === "day") return new Date(time).toLocaleDateString([], { ...day, timeZone: "UTC" });
  const hour = { hour: "numeric", minute: "2-digit" };
  return new Date(time).toLocaleString([], { ...day, ...hour });
}

function onAxis(time) {
  if (scale.by === "day" || scale.to - scale.from > SHORT_AXIS) return inWords(time);
  return new Date(time).toLocaleTimeString([], { hour: "numeric", minute: "2-digit" });
}

function ticks() {
  const length = LENGTH[scale.by];
  const made = new Map();
  for (let tick = 0; tick <= TICKS; tick += 1) {
    const wanted = (tick / TICKS) * (scale.to - scale.from);
    const time = scale.from + length * Math.round(wanted / length);
    made.set(onAxis(time), share(time));
  }
  return [...made].map(([label, at]) => [at, label]);
}

// The numbers of one span, or of all.
function write(one) {
  const counted = one ? [one] : spans;
  const sum = (value) => counted.reduce((total, each) => total + value(each), 0);
  for (const [emotion, { number }] of rowsOf(emotions)) {
    number.textContent = sum((each) => facesOf(each, emotion)).toLocaleString();
  }
  const when = one ? inWords(startOf(one)) : "Total";
  const many = `${images(sum((each) => each.images))}, ${faces(sum((each) => each.faces))}`;
  $("summary-words").textContent = `${when}: ${many}`;
  $("summary-rows").classList.toggle("pointed", Boolean(one));
  if (one) {
    const middle = share(startOf(one) + 0.425 * LENGTH[scale.by]);
    $("summary-rows").style.setProperty("--at", middle);
  }
}

function point(event) {
  const plot = $("summary-rows").querySelector(".plot")?.getBoundingClientRect();
  if (!plot) return;
  const at = (event.clientX - plot.left) / plot.width;
  const time = scale.from + at * (scale.to - scale.from);
  const within = (begin) => begin <= time && time < begin + LENGTH[scale.by];
  write(spans.find((each) => within(startOf(each))) ?? null);
}

// The table can have thousands of rows, so it is made when it is opened.
function fillTable() {
  if (!$("summary-numbers").open) return;
  const head = ["When", "Images", "Faces", "Mood", ...emotions];
  const cells = (name, its) => its.map((text) => element(name, {}, text));
  $("summary-head").replaceChildren(
    element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))),
  );
  $("summary-body").replaceChildren(
    ...spans.map((each) => {
      const numbers = emotions.map((emotion) => {
        const its = each.emotions[emotion];
        return its ? `${its.faces} (${percent(its.mean_probability)})` : "–";
      });
      const when = element("th", { scope: "row" }, inWords(startOf(each)));
      const counts = [String(each.images), String(each.faces), moods.get(each.span) ?? "–"];
      return element("tr", {}, when, ...cells("td", [...counts, ...numbers]));
    }),
  );
}

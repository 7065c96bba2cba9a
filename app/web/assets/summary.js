// Stored emotions over time, from the service's sums, for the filters of the table below.

import { element, get } from "./api.js";
import { axis, bars, makeRows } from "./chart.js";
import { EMOTIONS, percent } from "./faces.js";
import { DEFAULT } from "./mood.js";

const $ = (id) => document.getElementById(id);
const HOUR = 3_600_000; // ms
const LENGTH = { hour: HOUR, day: 24 * HOUR };
const FEWEST = 8; // spans that the axis has room for: one bar alone does not fill the row
const SHORT = 3 * LENGTH.day; // what is shown by the hour unless people choose otherwise
const TICKS = 4;
const SHORT_AXIS = 1.5 * LENGTH.day; // whose hours need no dates

let rows;
let spans = [];
let moods = new Map(); // the name of each span's mood
let scale = null; // {from, to, by}: times in ms
let byChoice = false; // people chose between hour and day
let loads = 0;
let reload = () => {};

/** `again` is called when people choose between hours and days. */
export function start(again) {
  reload = again;
  rows = makeRows($("summary-rows"));
  $("summary-by").addEventListener("change", () => {
    byChoice = true;
    reload();
  });
  $("summary-rows").addEventListener("pointermove", point);
  $("summary-rows").addEventListener("pointerleave", () => write(null));
  $("summary-numbers").addEventListener("toggle", fillTable);
}

/** Show the sums of what fits a query of filters. Never throws: the table says what goes wrong for
 * both; what goes wrong here alone is said here. */
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

// Moods are made picture by picture, so the service does that for so many only.
async function askMoods(query, by) {
  try {
    return await ask(query, by, { mood: DEFAULT });
  } catch (error) {
    if (error.status !== 422) throw error;
    return [];
  }
}

const startOf = ({ span }) => Date.parse(span); // days are read as UTC, as they are meant
const lengthOf = (its, by) => startOf(its.at(-1)) + LENGTH[by] - startOf(its[0]);

function show(found, by) {
  spans = found;
  moods.clear();
  $("summary").hidden = !spans.length;
  $("summary-chart").hidden = !spans.length;
  if (!spans.length) return;
  const to = startOf(spans.at(-1)) + LENGTH[by];
  scale = { by, to, from: Math.min(startOf(spans[0]), to - FEWEST * LENGTH[by]) };
  const highest = Math.max(1, ...spans.flatMap((each) => EMOTIONS.map((it) => facesOf(each, it))));
  for (const emotion of EMOTIONS) {
    const drawn = spans.map((each) => {
      const from = share(startOf(each));
      const wide = Math.max(0.85 * (share(startOf(each) + LENGTH[by]) - from), 0.001);
      return [from, from + wide, facesOf(each, emotion) / highest];
    });
    rows[emotion].path.setAttribute("d", bars(drawn));
  }
  $("summary-rows").querySelector(".axis")?.remove();
  $("summary-rows").append(axis(ticks()));
  $("summary-scale").textContent =
    `Each row goes from 0 to ${faces(highest)}, by a face's likeliest emotion` +
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
    const part = element("i", { className: each.mood.mood });
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
const pictures = (count) => (count === 1 ? "1 picture" : `${count.toLocaleString()} pictures`);

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
  for (const emotion of EMOTIONS) {
    rows[emotion].number.textContent = sum((each) => facesOf(each, emotion)).toLocaleString();
  }
  const when = one ? inWords(startOf(one)) : "In all";
  const many = `${pictures(sum((each) => each.images))}, ${faces(sum((each) => each.faces))}`;
  $("summary-words").textContent = `${when}: ${many}`;
  $("summary-rows").classList.toggle("pointed", Boolean(one));
  if (one) {
    const middle = share(startOf(one) + 0.425 * LENGTH[scale.by]);
    $("summary-rows").style.setProperty("--at", middle);
  }
}

function point(event) {
  const plot = $("summary-rows").querySelector(".plot").getBoundingClientRect();
  const at = (event.clientX - plot.left) / plot.width;
  const time = scale.from + at * (scale.to - scale.from);
  const within = (begin) => begin <= time && time < begin + LENGTH[scale.by];
  write(spans.find((each) => within(startOf(each))) ?? null);
}

// Up to some thousand rows: made when somebody looks.
function fillTable() {
  if (!$("summary-numbers").open) return;
  const head = ["When", "Pictures", "Faces", "Mood", ...EMOTIONS];
  const cells = (name, its) => its.map((text) => element(name, {}, text));
  $("summary-head").replaceChildren(
    element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text))),
  );
  $("summary-body").replaceChildren(
    ...spans.map((each) => {
      const numbers = EMOTIONS.map((emotion) => {
        const its = each.emotions[emotion];
        return its ? `${its.faces} (${percent(its.mean_probability)})` : "–";
      });
      const when = element("th", { scope: "row" }, inWords(startOf(each)));
      const counts = [String(each.images), String(each.faces), moods.get(each.span) ?? "–"];
      return element("tr", {}, when, ...cells("td", [...counts, ...numbers]));
    }),
  );
}

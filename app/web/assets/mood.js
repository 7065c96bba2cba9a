// The mood of the group in an image, the agreement of its faces, and the weight of each face.

import { element, get } from "./api.js";
import { percent } from "./faces.js";
import { paint } from "./labels.js";

const $ = (id) => document.getElementById(id);

const FEWEST = 2; // faces of a group

let aggregators = [];
let askAgain = async () => null;
let asks = 0;

/** `ask` returns the mood of the image on the page by the chosen aggregator. */
export function start(ask) {
  askAgain = ask;
  $("mood-by").addEventListener("change", change);
}

/** Offer the aggregators of the service. */
export function offer(those) {
  aggregators = those;
  $("mood-by").replaceChildren(
    ...those.map(({ name, title, default: selected }) =>
      element("option", { value: name, selected }, title)),
  );
}

/** The options of a request for the mood by the chosen aggregator, or by the default one. None
 * before the aggregators are known. */
export const chosen = () => asOption($("mood-by").value);
export const byDefault = () => asOption(aggregators.find((each) => each.default)?.name);

const asOption = (name) => (name ? { mood: name } : {});

/** The mood of a stored image. Throws Problem. */
export const moodOf = (image) =>
  get(`/v1/images/${image.id}/mood?aggregator=${encodeURIComponent($("mood-by").value)}`);

async function change() {
  asks += 1;
  const mine = asks;
  $("mood-problem").hidden = true;
  try {
    const mood = await askAgain();
    if (mine === asks && mood) show(mood);
  } catch (error) {
    if (mine !== asks) return;
    $("mood-problem").textContent = error.message;
    $("mood-problem").hidden = false;
  }
}

/** Show a mood beside its image, after the boxes. Without a mood, show nothing. */
export function show(mood) {
  const faces = mood?.faces ?? [];
  $("mood").hidden = faces.length < FEWEST;
  $("mood-problem").hidden = true;
  const weights = new Map(faces.map((face) => [String(face.face_id), percent(face.weight)]));
  for (const box of document.querySelectorAll("#picture .box")) {
    const weight = $("mood").hidden ? null : weights.get(box.dataset.face);
    if (weight) box.dataset.weight = weight;
    else delete box.dataset.weight;
  }
  if ($("mood").hidden) return;
  const { description } = aggregators.find((each) => each.name === mood.aggregator) ?? {};
  $("mood-how").textContent = description ?? "";
  $("mood-name").textContent = mood.mood;
  $("mood-name").className = "chip";
  paint($("mood-name"), mood.mood);
  $("mood-words").textContent = inWords(mood);
  const parts = Object.entries(mood.distribution).filter(([, share]) => share >= 0.005);
  $("mood-bar").replaceChildren(
    ...parts.sort(([, a], [, b]) => b - a).map(([emotion, share]) => {
      const part = paint(element("i", { title: `${emotion} ${percent(share)}` }), emotion);
      part.style.flexGrow = share;
      return part;
    }),
  );
}

/** The distribution and the agreement of a mood as text. */
export function inWords(mood) {
  const parts = Object.entries(mood.distribution)
    .filter(([, share]) => share >= 0.05)
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, share]) => `${emotion} ${percent(share)}`);
  return `${parts.join(", ")}; the faces agree by ${percent(mood.agreement)}.`;
}

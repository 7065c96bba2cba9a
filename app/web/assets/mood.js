// The group mood of an image: distribution, agreement, and the weight of each face.

import { element, get } from "./api.js";
import { percent } from "./faces.js";
import { paint } from "./labels.js";

const $ = (id) => document.getElementById(id);

const MIN_FACES = 2; // of a group

let aggregators = [];
let requestMood = async () => null;
let requests = 0; // counts requests, so that only the newest response is shown

/** `request` returns the mood of the image on the page, computed with the selected
 * aggregator. */
export function start(request) {
  requestMood = request;
  $("mood-by").addEventListener("change", update);
}

/** Set the aggregators of the select. */
export function setAggregators(newAggregators) {
  aggregators = newAggregators;
  $("mood-by").replaceChildren(
    ...aggregators.map(({ name, title, default: selected }) =>
      element("option", { value: name, selected }, title)),
  );
}

/** Return the request option for the selected aggregator. Empty before the aggregators are set. */
export const selectedOption = () => asOption($("mood-by").value);

/** Return the request option for the default aggregator. Empty before the aggregators are set. */
export const defaultOption = () => asOption(aggregators.find((each) => each.default)?.name);

const asOption = (name) => (name ? { mood: name } : {});

/** Request the mood of a stored image. Throws Problem. */
export const moodOf = (image) =>
  get(`/v1/images/${image.id}/mood?aggregator=${encodeURIComponent($("mood-by").value)}`);

async function update() {
  requests += 1;
  const number = requests;
  $("mood-problem").hidden = true;
  try {
    const mood = await requestMood();
    if (number === requests && mood) show(mood);
  } catch (error) {
    if (number !== requests) return;
    $("mood-problem").textContent = error.message;
    $("mood-problem").hidden = false;
  }
}

/** Show a mood and the weight of each face. Hides the panel without a group. */
export function show(mood) {
  const faces = mood?.faces ?? [];
  $("mood").hidden = faces.length < MIN_FACES;
  $("mood-problem").hidden = true;
  if ($("mood").hidden) return;
  const { description } = aggregators.find((each) => each.name === mood.aggregator) ?? {};
  $("mood-method").textContent = description ?? "";
  $("mood-name").textContent = mood.mood;
  $("mood-name").className = "chip";
  paint($("mood-name"), mood.mood);
  $("mood-text").textContent = describeMood(mood);
  $("mood-weights").replaceChildren(...faces.map(weightOf));
  const parts = Object.entries(mood.distribution).filter(([, share]) => share >= 0.005);
  $("mood-bar").replaceChildren(
    ...parts.sort(([, a], [, b]) => b - a).map(([emotion, share]) => {
      const part = paint(element("i", { title: `${emotion} ${percent(share)}` }), emotion);
      part.style.flexGrow = share;
      return part;
    }),
  );
}

function weightOf({ face_id: faceId, weight }) {
  const item = element("li", {}, `Face ${faceId}: ${percent(weight)}`);
  item.dataset.face = faceId;
  item.dataset.weight = percent(weight);
  return item;
}

/** Describe the distribution and the agreement of a mood. */
export function describeMood(mood) {
  const parts = Object.entries(mood.distribution)
    .filter(([, share]) => share >= 0.05)
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, share]) => `${emotion} ${percent(share)}`);
  return `${parts.join(", ")}; agreement ${percent(mood.agreement)}.`;
}

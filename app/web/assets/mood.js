// The mood of the group in a picture: what it is, how far its faces agree, what each of them weighs.

import { element, get } from "./api.js";
import { percent } from "./faces.js";

const $ = (id) => document.getElementById(id);

// As the service names them, the first being what it does unless told otherwise.
const AGGREGATORS = {
  quality: "Faces that are read well count more.",
  mean: "Each face counts alike.",
  sum: "Each face counts alike.",
  median: "What half of the faces show at least.",
  trimmed: "Each face counts alike, the extremes left out.",
  max: "The strongest of each emotion.",
  vote: "Each face has a vote.",
  logpool: "What no face rules out.",
  size: "Larger faces count more.",
  centrality: "Faces in the middle count more.",
  most_negative: "The unhappiest face alone counts.",
};
/** The aggregator that the service takes unless told otherwise. */
export const [DEFAULT] = Object.keys(AGGREGATORS);
const FEWEST = 2; // faces: one alone is no group

let askAgain = async () => null;
let asks = 0;

/** `ask` gives the mood of the picture on the page by the aggregator that people choose. */
export function start(ask) {
  askAgain = ask;
  $("mood-by").append(
    ...Object.keys(AGGREGATORS).map((name) =>
      element("option", { value: name }, name.replaceAll("_", " "))),
  );
  $("mood-by").addEventListener("change", change);
}

/** The aggregator that is chosen. */
export const aggregator = () => $("mood-by").value;

/** The mood of a stored image. Throws Problem. */
export const moodOf = (image) => get(`/v1/images/${image.id}/mood?aggregator=${aggregator()}`);

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

/** Show a mood beside its picture, whose boxes are there already. */
export function show(mood) {
  $("mood").hidden = mood.faces.length < FEWEST;
  $("mood-problem").hidden = true;
  const weights = new Map(mood.faces.map((face) => [String(face.face_id), percent(face.weight)]));
  for (const box of document.querySelectorAll("#picture .box")) {
    const weight = $("mood").hidden ? null : weights.get(box.dataset.face);
    if (weight) box.dataset.weight = weight;
    else delete box.dataset.weight;
  }
  if ($("mood").hidden) return;
  $("mood-how").textContent = AGGREGATORS[mood.aggregator];
  $("mood-name").textContent = mood.mood;
  $("mood-name").className = `chip ${mood.mood}`;
  $("mood-words").textContent = inWords(mood);
  const parts = Object.entries(mood.distribution).filter(([, share]) => share >= 0.005);
  $("mood-bar").replaceChildren(
    ...parts.sort(([, a], [, b]) => b - a).map(([emotion, share]) => {
      const part = element("i", { className: emotion, title: `${emotion} ${percent(share)}` });
      part.style.flexGrow = share;
      return part;
    }),
  );
}

/** What a mood is made of, in words. */
export function inWords(mood) {
  const parts = Object.entries(mood.distribution)
    .filter(([, share]) => share >= 0.05)
    .sort(([, a], [, b]) => b - a)
    .map(([emotion, share]) => `${emotion} ${percent(share)}`);
  return `${parts.join(", ")}; the faces agree by ${percent(mood.agreement)}.`;
}

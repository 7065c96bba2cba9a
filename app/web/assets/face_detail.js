// The panel with all values of the selected face.

import { element } from "./api.js";
import { drawCrop } from "./crops.js";
import { applyToCard, fillCard, percent, sizeOf } from "./faces.js";

const $ = (id) => document.getElementById(id);
const MINUS = "−";

let shown = null; // the face in the panel

/** Show a face of `image`, the analysis. `view` is the loaded img element, or null. */
export function show(face, image, view, threshold) {
  shown = face;
  $("face-detail").hidden = false;
  fillCard($("face-values"), face, threshold);
  $("face-crop").hidden = !view;
  if (view) drawCrop($("face-crop"), face, image, view);
  const facts = [
    ["Size", `${sizeOf(face)} px`],
    ["Detection score", face.detection_score === null ? "none" : percent(face.detection_score)],
    ["Valence", signed(face.valence)],
    ["Arousal", signed(face.arousal)],
  ];
  $("face-facts").replaceChildren(
    ...facts.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/** Update the panel for a threshold. */
export function applyThreshold(threshold) {
  if (shown) applyToCard($("face-values"), shown, threshold);
}

/** Hide the panel. */
export function hide() {
  shown = null;
  $("face-detail").hidden = true;
}

// Valence and arousal are from -1 to 1, or null for models with other labels.
function signed(value) {
  if (value === null || value === undefined) return "none";
  const digits = Math.abs(value).toFixed(2);
  if (Number(digits) === 0) return digits;
  return value < 0 ? MINUS + digits : `+${digits}`;
}

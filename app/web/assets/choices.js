// The selects for pipelines, detectors, models and aggregators.

import { element, get } from "./api.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);

let pipelines = [];
let detectors = [];
let models = [];
let storesImages = false;
let loading = null; // the promise of the first call of loadChoices

/** `onChange` is called when the user changes a select. */
export function start(onChange) {
  for (const select of [$("pipeline"), $("detector"), $("model")]) {
    select.addEventListener("change", () => {
      updateForPipeline();
      onChange();
    });
  }
}

/** Load the choices from the service, once. Throws Problem. */
export function loadChoices() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load() {
  const [readiness, pipelinesBody, detectorsBody, modelsBody, aggregatorsBody] =
    await Promise.all([
      get("/readyz"),
      get("/v1/pipelines"),
      get("/v1/detectors"),
      get("/v1/models"),
      get("/v1/aggregators"),
    ]);
  ({ pipelines } = pipelinesBody);
  storesImages = Boolean(readiness.keeps_pictures);
  $("storage-note").textContent =
    storesImages ? ", which stores them with the results" : " and are not stored";
  models = modelsBody.models.filter((each) => each.ready);
  for (const isDefault of [true, false]) {
    for (const { card } of models.filter((each) => each.default === isDefault)) {
      if (card.exclusive !== false) labels.learn(card.labels);
    }
  }
  mood.setAggregators(aggregatorsBody.aggregators);
  setOptions($("pipeline"), pipelines);
  detectors = detectorsBody.detectors.filter((each) => each.ready);
  setOptions($("detector"), detectors, detectors.find((each) => each.recommended));
  updateForPipeline();
}

/** Set the options of a select. `choices` have a name, a title and a description. `selected` is
 * the choice to select; by default it is the service's default. */
function setOptions(select, choices, selected = choices.find((each) => each.default)) {
  const options = choices.map((each) => {
    const option = element("option", { value: each.name, selected: each === selected });
    option.append(each.title);
    option.title = each.description;
    return option;
  });
  select.replaceChildren(...options);
}

// Each pipeline uses models of one kind, and some pipelines use no detector.
function updateForPipeline() {
  const pipeline = pipelines.find((each) => each.name === $("pipeline").value);
  if (!pipeline) return;
  $("detector").disabled = !pipeline.takes_detector;
  const detector = detectors.find((each) => each.name === $("detector").value);
  $("detector-description").textContent =
    detector && pipeline.takes_detector ? `${detector.title}: ${detector.description}` : "";
  const usable = models.filter((each) => each.kind === pipeline.models);
  if (usable.some((each) => each.name === $("model").value)) return;
  setOptions($("model"), usable);
}

/** Return the labels of the selected model. */
export function selectedLabels() {
  return models.find((each) => each.name === $("model").value)?.card.labels ?? labels.all();
}

/** Return true if the service stores image files with the results. */
export const serviceStoresImages = () => storesImages;

/** Return the options of a request. Without options, the service uses its defaults. */
export function selectedOptions() {
  const selects = [$("pipeline"), $("model"), $("detector")];
  const selected = selects.filter((each) => each.value && !each.disabled);
  return Object.fromEntries(selected.map(({ id, value }) => [id, value]));
}

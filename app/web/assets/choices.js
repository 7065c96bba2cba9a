// What the service offers: pipelines, detectors, models with their labels, and aggregators.

import { element, get } from "./api.js";
import * as labels from "./labels.js";
import * as mood from "./mood.js";

const $ = (id) => document.getElementById(id);

let pipelines = [];
let models = [];
let keeps = false;
let filling = null; // the promise of the first request

/** `changed` is called after a choice. */
export function start(changed) {
  for (const select of [$("pipeline"), $("detector"), $("model")]) {
    select.addEventListener("change", () => {
      offerFitting();
      changed();
    });
  }
}

/** Fill the choices, once. Throws Problem. */
export function fill() {
  filling ??= offer().catch((error) => {
    filling = null;
    throw error;
  });
  return filling;
}

async function offer() {
  const [ready, itsPipelines, itsDetectors, itsModels, itsAggregators] = await Promise.all([
    get("/readyz"),
    get("/v1/pipelines"),
    get("/v1/detectors"),
    get("/v1/models"),
    get("/v1/aggregators"),
  ]);
  ({ pipelines } = itsPipelines);
  keeps = Boolean(ready.keeps_pictures);
  $("kept").textContent = keeps ? ", which stores it with the result" : ", and is not stored";
  models = itsModels.models.filter((each) => each.ready);
  for (const isDefault of [true, false]) {
    for (const { card } of models.filter((each) => each.default === isDefault)) {
      if (card.exclusive !== false) labels.learn(card.labels);
    }
  }
  mood.offer(itsAggregators.aggregators);
  offerIn($("pipeline"), pipelines);
  offerIn($("detector"), itsDetectors.detectors.filter((each) => each.ready));
  offerFitting();
}

/** Let a select offer things that have a name, a title and a description. */
export function offerIn(select, things) {
  const options = things.map((each) => {
    const made = element("option", { value: each.name, selected: each.default });
    made.append(each.title);
    made.title = each.description;
    return made;
  });
  select.replaceChildren(...options);
}

// Some pipelines have no choice of detectors, and each takes models of one kind.
function offerFitting() {
  const pipeline = pipelines.find((each) => each.name === $("pipeline").value);
  if (!pipeline) return;
  $("detector").disabled = !pipeline.takes_detector;
  const fitting = models.filter((each) => each.kind === pipeline.models);
  if (fitting.some((each) => each.name === $("model").value)) return;
  offerIn($("model"), fitting);
}

/** The labels of the chosen model. */
export function chosenLabels() {
  return models.find((each) => each.name === $("model").value)?.card.labels ?? labels.all();
}

/** Whether the service stores the images of stored results. */
export const keepsPictures = () => keeps;

/** The options of a request. Before the choices are filled, the service's defaults apply. */
export function chosen() {
  const selects = [$("pipeline"), $("model"), $("detector")];
  const told = selects.filter((each) => each.value && !each.disabled);
  return Object.fromEntries(told.map(({ id, value }) => [id, value]));
}

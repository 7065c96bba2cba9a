// How pictures are looked at, as the service names it: of the pages where they are looked at.

import { element, get } from "./api.js";

const $ = (id) => document.getElementById(id);

let pipelines = [];
let models = [];
let keeps = false;
let filling = null; // one question at a time

/** `changed` is called when people choose otherwise. */
export function start(changed) {
  for (const select of [$("pipeline"), $("detector"), $("model")]) {
    select.addEventListener("change", () => {
      offerFitting();
      changed();
    });
  }
}

/** Offer what the service has, unless that is done. Throws Problem. */
export function fill() {
  filling ??= offer().catch((error) => {
    filling = null;
    throw error;
  });
  return filling;
}

async function offer() {
  const [ready, itsPipelines, itsDetectors, itsModels] = await Promise.all([
    get("/readyz"),
    get("/v1/pipelines"),
    get("/v1/detectors"),
    get("/v1/models"),
  ]);
  ({ pipelines } = itsPipelines);
  keeps = Boolean(ready.keeps_pictures);
  $("kept").textContent = keeps ? ", which keeps it with the result" : ", and is not kept";
  models = itsModels.models.filter((each) => each.ready);
  offerIn($("pipeline"), pipelines);
  offerIn($("detector"), itsDetectors.detectors.filter((each) => each.ready));
  offerFitting();
}

function offerIn(select, things) {
  const options = things.map((each) => {
    const made = element("option", { value: each.name, selected: each.default });
    made.append(each.title);
    made.title = each.description;
    return made;
  });
  select.replaceChildren(...options);
}

// One-pass networks are their own detector, and each pipeline has its own models.
function offerFitting() {
  const pipeline = pipelines.find((each) => each.name === $("pipeline").value);
  if (!pipeline) return;
  $("detector").disabled = pipeline.models !== "classifier";
  const fitting = models.filter((each) => each.kind === pipeline.models);
  if (fitting.some((each) => each.name === $("model").value)) return;
  offerIn($("model"), fitting);
}

/** Whether the service keeps the pictures of stored results. */
export const keepsPictures = () => keeps;

/** The options of a request; what is not known yet is left to the service. */
export function chosen() {
  const selects = [$("pipeline"), $("model"), $("detector")];
  const told = selects.filter((each) => each.value && !each.disabled);
  return Object.fromEntries(told.map(({ id, value }) => [id, value]));
}

// The labels of the service's models: their order, and a colour for each.

const COLOURS = 16; // --label-0 to --label-15 in style.css

const places = new Map(); // the place of each label in the order

/** Add labels to the order, after those that are known. */
export function learn(labels) {
  for (const label of labels) {
    if (!places.has(label)) places.set(label, places.size);
  }
}

/** All known labels, in order. */
export const all = () => [...places.keys()];

/** These labels without repetitions, in order. */
export function inOrder(labels) {
  learn(labels);
  return [...new Set(labels)].sort((a, b) => places.get(a) - places.get(b));
}

/** Give an element the colour of a label, or with null no colour. Returns the element. */
export function paint(made, label) {
  if (label === null) {
    delete made.dataset.label;
    made.style.removeProperty("--its");
    return made;
  }
  learn([label]);
  made.dataset.label = label;
  made.style.setProperty("--its", `var(--label-${places.get(label) % COLOURS})`);
  return made;
}

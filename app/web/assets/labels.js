// Order and colours of the labels of all models.

const COLOURS = 16; // --label-0 to --label-15 in style.css

const positions = new Map(); // label to position in the order

/** Append unknown labels to the order. */
export function learn(labels) {
  for (const label of labels) {
    if (!positions.has(label)) positions.set(label, positions.size);
  }
}

/** Return all known labels in order. */
export const all = () => [...positions.keys()];

/** Return the distinct labels in order. */
export function inOrder(labels) {
  learn(labels);
  return [...new Set(labels)].sort((a, b) => positions.get(a) - positions.get(b));
}

/** Give an element the colour of a label; null removes the colour. Returns the element. */
export function paint(target, label) {
  if (label === null) {
    delete target.dataset.label;
    target.style.removeProperty("--label-color");
    return target;
  }
  learn([label]);
  target.dataset.label = label;
  target.style.setProperty("--label-color", `var(--label-${positions.get(label) % COLOURS})`);
  return target;
}

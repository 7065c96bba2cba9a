// Order and colours of the labels of all models.

const COLOURS = 16; // --label-0 to --label-15 in style.css
// The colours on which white text has more contrast than black text.
const DARK_COLOURS = new Set([3, 8, 9, 11, 15]);

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
    target.style.removeProperty("--on-label");
    return target;
  }
  learn([label]);
  const colour = positions.get(label) % COLOURS;
  target.dataset.label = label;
  target.style.setProperty("--label-color", `var(--label-${colour})`);
  target.style.setProperty("--on-label", DARK_COLOURS.has(colour) ? "#fff" : "#000");
  return target;
}

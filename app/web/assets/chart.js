// Charts of labels over time. Each label has a row with its name, so lines do not cross and the
// chart can be read without its colours.

import { element } from "./api.js";
import { paint } from "./labels.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 100]; // coordinates of a row, which are stretched to its size

/** A function that shows one row for each label in a list, before its axis. It returns a Map from
 * the label to {path, number}, the elements of the row. */
export function rowsIn(list) {
  let rows = new Map();
  return (labels) => {
    if (labels.join("\n") === [...rows.keys()].join("\n")) return rows;
    for (const each of list.querySelectorAll(":scope > [data-label]")) each.remove();
    rows = new Map(labels.map((label) => [label, makeRow(label)]));
    list.prepend(...[...rows.values()].map(({ item }) => item));
    return rows;
  };
}

function makeRow(label) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(SVG, "path");
  drawing.append(path);
  const number = element("span", { className: "number" });
  const plot = element("span", { className: "plot" }, drawing);
  const name = element("span", { className: "swatch" }, label);
  return { item: paint(element("li", {}, name, plot, number), label), path, number };
}

/** The axis, which is the last item of a list, with texts at shares of its width. */
export function axis(ticks) {
  const marks = ticks.map(([share, label]) => {
    const mark = element("span", {}, label);
    mark.style.left = `${100 * share}%`;
    return mark;
  });
  return element("li", { className: "axis" }, element("span", { className: "ticks" }, ...marks));
}

/** The path of a filled line through points [x, y], shares of the row; null breaks it. */
export function area(points) {
  let path = "";
  let last = null; // where the current line ends
  for (const point of [...points, null]) {
    if (point) {
      const at = `${across(point[0])} ${up(point[1])}`;
      path += last === null ? `M${across(point[0])} ${HEIGHT}L${at}` : `L${at}`;
      [last] = point;
    } else if (last !== null) {
      path += `L${across(last)} ${HEIGHT}Z`;
      last = null;
    }
  }
  return path;
}

/** The path of bars [from, to, height], shares of the row. */
export function bars(its) {
  return its
    .filter(([, , height]) => height > 0)
    .map(([from, to, height]) =>
      `M${across(from)} ${HEIGHT}V${up(height)}H${across(to)}V${HEIGHT}Z`)
    .join("");
}

const across = (share) => Math.round(10 * WIDTH * share) / 10;
const up = (share) => Math.round(10 * HEIGHT * (1 - share)) / 10;

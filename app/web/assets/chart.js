// Charts of labels over time. Each label has a separate, named row, so the chart can be read
// without colours.

import { element } from "./api.js";
import { paint } from "./labels.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 100]; // SVG coordinates of a row, stretched to the size on the page

/** Return a function `(labels) => rows`. It shows one row per label in `list`, before the axis, and
 * returns a Map from each label to {path, number}, the elements of its row. */
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
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS(SVG, "path");
  svg.append(path);
  const number = element("span", { className: "number" });
  const plot = element("span", { className: "plot" }, svg);
  const name = element("span", { className: "swatch" }, label);
  return { item: paint(element("li", {}, name, plot, number), label), path, number };
}

/** Return an axis, the last item of a list. `ticks` are [position, label]; positions are 0 to 1. */
export function axis(ticks) {
  const items = ticks.map(([position, label]) => {
    const tick = element("span", {}, label);
    tick.style.left = `${100 * position}%`;
    return tick;
  });
  return element("li", { className: "axis" }, element("span", { className: "ticks" }, ...items));
}

/** Return the SVG path of a filled line through points [x, y] with coordinates from 0 to 1. null
 * interrupts the line. */
export function area(points) {
  let path = "";
  let lastX = null; // of the current line
  for (const point of [...points, null]) {
    if (point) {
      const [x, y] = [toX(point[0]), toY(point[1])];
      path += lastX === null ? `M${x} ${HEIGHT}L${x} ${y}` : `L${x} ${y}`;
      lastX = x;
    } else if (lastX !== null) {
      path += `L${lastX} ${HEIGHT}Z`;
      lastX = null;
    }
  }
  return path;
}

/** Return the SVG path of bars [left, right, height], which are 0 to 1. */
export function bars(rectangles) {
  return rectangles
    .filter(([, , height]) => height > 0)
    .map(([left, right, height]) =>
      `M${toX(left)} ${HEIGHT}V${toY(height)}H${toX(right)}V${HEIGHT}Z`)
    .join("");
}

const toX = (share) => Math.round(10 * WIDTH * share) / 10;
const toY = (share) => Math.round(10 * HEIGHT * (1 - share)) / 10;

// Emotions over time, a row for each: names stand beside the colours, and nothing crosses.

import { element } from "./api.js";
import { EMOTIONS } from "./faces.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 100]; // of a row's own coordinates, which are stretched to its place

/** Put the rows into a list; {emotion: {path, number}} to draw and write into. */
export function makeRows(list) {
  const rows = {};
  for (const emotion of EMOTIONS) {
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    picture.setAttribute("preserveAspectRatio", "none");
    const path = document.createElementNS(SVG, "path");
    picture.append(path);
    const number = element("span", { className: "number" });
    const plot = element("span", { className: "plot" }, picture);
    const name = element("span", { className: "swatch" }, emotion);
    list.append(element("li", { className: emotion }, name, plot, number));
    rows[emotion] = { path, number };
  }
  return rows;
}

/** The last item of a list: its axis, with labels at shares of its width. */
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
  let last = null; // where the line that is under way has come to
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

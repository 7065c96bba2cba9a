// Crops of faces, drawn from the image on the page.

const MARGIN = 0.3; // share of the longer side of a box that is shown around the box

/** Draw a face of `image`, the analysis, from `view`, the loaded img element, as a square. */
export function drawCrop(canvas, face, image, view) {
  const { x1, y1, x2, y2 } = face.box;
  const scale = view.naturalWidth / image.width;
  const side = (1 + MARGIN) * Math.max(x2 - x1, y2 - y1);
  const [left, top] = [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  const source = [left, top, side, side].map((each) => scale * each);
  context.drawImage(view, ...source, 0, 0, canvas.width, canvas.height);
}

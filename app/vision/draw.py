"""The annotated picture: a box and the shown emotions for each face, scaled with the picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import CannotDraw
from app.vision.image import ImageFile
from app.vision.types import Analysis, Face

# Colour-blind-safe (Okabe and Ito 2008), BGR; faces take them in turn.
COLORS_BGR = ((0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (167, 121, 204))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg"}


def annotated_picture(data: bytes, analysis: Analysis, *, media_type: str) -> bytes:
    """The file of `annotate`'s picture, as image/png or image/jpeg; `data` is the analysed file.

    Raises CannotDraw for sides that the file type does not know: JPEG ends at 65,500 pixels.
    """
    file = ImageFile(data, max_pixels=analysis.width * analysis.height)
    image_bgr = file.read(color=True).bgr
    try:
        done, encoded = cv2.imencode(EXTENSIONS[media_type], annotate(image_bgr, analysis))
    except cv2.error:
        done = False
    if not done:
        raise CannotDraw(f"{analysis.width}x{analysis.height} pixels do not fit into {media_type}")
    return encoded.tobytes()


def annotate(image_bgr: NDArray[np.uint8], analysis: Analysis) -> NDArray[np.uint8]:
    """A copy of the upright picture with what `analysis.threshold` shows drawn into it."""
    canvas = image_bgr.copy()
    unit = max(canvas.shape[0], canvas.shape[1]) / 1000
    thickness = max(1, round(3 * unit))
    for number, face in enumerate(analysis.faces, start=1):
        color = COLORS_BGR[(number - 1) % len(COLORS_BGR)]
        x1, y1, x2, y2 = map(round, face.box.xyxy)
        # A dark line around the coloured one keeps the box visible on any background.
        cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, thickness + 2, cv2.LINE_AA)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness, cv2.LINE_AA)
    for number, face in enumerate(analysis.faces, start=1):
        _label(canvas, number, face, analysis.threshold, max(0.35, 0.8 * unit))
    return canvas


def _label(
    canvas: NDArray[np.uint8], number: int, face: Face, threshold: float, scale: float
) -> None:
    """Lines of text on a dark plate over the box, or under it where the picture ends above."""
    emotions = sorted(face.shown(threshold).items(), key=lambda item: -item[1])
    lines = [f"{name} {value:.0%}" for name, value in emotions] or [f"face {number}"]
    thickness = max(1, round(1.6 * scale))
    sizes = [cv2.getTextSize(line, FONT, scale, thickness)[0] for line in lines]
    step = round(1.6 * max(height for _, height in sizes))
    pad = round(0.35 * step)
    width = max(width for width, _ in sizes) + 2 * pad
    height = step * len(lines) + pad
    left = min(max(0, round(face.box.x1)), max(0, canvas.shape[1] - width))
    top = round(face.box.y1) - height
    if top < 0:
        top = min(round(face.box.y2), max(0, canvas.shape[0] - height))
    plate = canvas[top : top + height, left : left + width]
    plate[:] = plate // 5
    for index, line in enumerate(lines, start=1):
        origin = (left + pad, top + index * step)
        cv2.putText(canvas, line, origin, FONT, scale, WHITE, thickness, cv2.LINE_AA)

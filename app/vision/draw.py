"""Draws the annotated image: a box and emotion labels for each face."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import CannotDraw
from app.vision.image import ImageFile
from app.vision.types import Analysis, Face

# Colours that people with colour blindness can distinguish (Okabe and Ito 2008), BGR. Faces use
# them cyclically.
COLORS_BGR = ((0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (167, 121, 204))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_FONT_SCALE = 0.35  # letters of about 8 pixels, the smallest that are readable
# Upper bound of the time per pixel to read a file of any type, or to encode a PNG, on a slow or
# busy machine.
SECONDS_PER_PIXEL = 1e-7
# The size was already checked when the image was analysed.
UNLIMITED = 2**62
EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg"}

Rectangle = tuple[int, ...]  # x1, y1, x2, y2


def annotated_image(
    data: bytes,
    analysis: Analysis,
    *,
    media_type: str,
    max_output_pixels: int | None = None,
    deadline: Deadline = NEVER,
) -> bytes:
    """Draw the annotated image and return the encoded file.

    `data` is the analysed file. `media_type` is image/png or image/jpeg. An image with more than
    `max_output_pixels` is drawn at a smaller size.

    Raises CannotDraw if the file type does not support the size; the sides of a JPEG have at most
    65,500 pixels. Raises DeadlineExceeded, also if there is not enough time left to read or to
    encode the image, because these steps cannot be stopped.
    """
    file = ImageFile(data, max_pixels=UNLIMITED)
    deadline.check(file.pixels * SECONDS_PER_PIXEL)
    raster = file.read(color=True, max_output_pixels=max_output_pixels)
    canvas = raster.bgr  # not copied, because a copy would double the memory
    _draw(canvas, _scaled(analysis, raster.scale), deadline)
    deadline.check(canvas.shape[0] * canvas.shape[1] * SECONDS_PER_PIXEL)
    try:
        success, encoded = cv2.imencode(EXTENSIONS[media_type], canvas)
    except cv2.error:
        success = False
    if not success:
        raise CannotDraw(
            f"an image of {analysis.width}x{analysis.height} pixels cannot be encoded as "
            f"{media_type}: send Accept: application/json"
        )
    del canvas
    return encoded.tobytes()


def _scaled(analysis: Analysis, factor: float) -> Analysis:
    """Scale the boxes of the analysis for an image whose sides have `factor` times as many
    pixels."""
    faces = tuple(replace(face, box=face.box.scaled(factor)) for face in analysis.faces)
    return replace(analysis, faces=faces)


def annotate(
    image_bgr: NDArray[np.uint8], analysis: Analysis, deadline: Deadline = NEVER
) -> NDArray[np.uint8]:
    """Return a copy of the upright image (height, width, 3) with the boxes and the emotions of at
    least `analysis.threshold`. Raises DeadlineExceeded."""
    canvas = image_bgr.copy()
    _draw(canvas, analysis, deadline)
    return canvas


def _draw(canvas: NDArray[np.uint8], analysis: Analysis, deadline: Deadline) -> None:
    height, width = canvas.shape[:2]
    unit = max(width, height) / 1000
    thickness = max(1, round(3 * unit))
    boxes = [tuple(map(round, face.box.xyxy)) for face in analysis.faces]
    for (x1, y1, x2, y2), color in zip(boxes, cycle(COLORS_BGR)):
        deadline.check()
        # A dark outline keeps the coloured line visible on any background.
        cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, thickness + 2, cv2.LINE_AA)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness, cv2.LINE_AA)
    texts = [
        _lines(number, face, analysis.threshold)
        for number, face in enumerate(analysis.faces, start=1)
    ]
    gap = thickness // 2 + 2  # the outer half of the line
    scale = max(MIN_FONT_SCALE, 0.8 * unit)
    labels = _layout_labels(boxes, texts, (width, height), scale=scale, gap=gap, deadline=deadline)
    for label, color in zip(labels, cycle(COLORS_BGR)):
        deadline.check()
        if label:
            _draw_label(canvas, label, color)


@dataclass(frozen=True, slots=True)
class _Label:
    """Lines of text on a dark plate. All sizes are in pixels. `scale` is the scale of FONT. `left`
    and `top` are the upper left corner of the plate."""

    lines: list[str]
    scale: float
    thickness: int
    step: int  # distance between two lines
    pad: int
    width: int
    height: int
    left: int = 0
    top: int = 0


def _lines(number: int, face: Face, threshold: float) -> list[str]:
    """Return one line for each emotion of at least the threshold, in descending order; a line with
    the number of the face if there are none."""
    emotions = sorted(face.emotions.rounded(threshold).items(), key=lambda item: -item[1])
    return [f"{name} {value:.0%}" for name, value in emotions] or [f"face {number}"]


def _layout_labels(
    boxes: Sequence[Rectangle],
    texts: Sequence[list[str]],
    size_wh: tuple[int, int],
    *,
    scale: float,
    gap: int,
    deadline: Deadline,
) -> list[_Label | None]:
    """Place a label for each box so that it covers no other face or label. If there is not enough
    room, use a smaller font for all labels. Returns None for a label that is larger than the
    image."""
    while True:
        labels, covered = _place_labels(
            boxes, texts, size_wh, scale=scale, gap=gap, deadline=deadline
        )
        if not covered or scale == MIN_FONT_SCALE:
            return labels
        scale = max(MIN_FONT_SCALE, 0.8 * scale)


def _place_labels(
    boxes: Sequence[Rectangle],
    texts: Sequence[list[str]],
    size_wh: tuple[int, int],
    *,
    scale: float,
    gap: int,
    deadline: Deadline,
) -> tuple[list[_Label | None], float]:
    """Place the labels one after the other where they cover the fewest pixels of other faces and
    labels. Returns the labels and the number of covered pixels."""
    occupied = np.array(boxes, np.float64).reshape(-1, 4)
    labels: list[_Label | None] = []
    covered = 0.0
    for number, (box, lines) in enumerate(zip(boxes, texts, strict=True)):
        deadline.check()
        label = _fit_label(number + 1, lines, scale, size_wh)
        labels.append(label)
        if label is None:
            continue
        corners = _corners(box, label, size_wh, gap)
        plates = np.array([(x, y, x + label.width, y + label.height) for x, y in corners])
        overlaps = _overlaps(plates, occupied)
        best = int(overlaps.sum(axis=1).argmin())  # ties go to the first corner
        covered += overlaps[best].sum() - overlaps[best, number]  # without the label's own face
        occupied = np.vstack([occupied, plates[best]])
        labels[-1] = replace(label, left=corners[best][0], top=corners[best][1])
    return labels, covered


def _fit_label(
    number: int, lines: list[str], scale: float, size_wh: tuple[int, int]
) -> _Label | None:
    """Return a label with as many of the lines as fit into the image. If none fits, return a label
    with the number of the face, or None if the number does not fit either."""
    choices = [lines[:count] for count in range(len(lines), 0, -1)]
    for choice in [*choices, [str(number)]]:
        label = _measure_label(choice, scale)
        if label.width <= size_wh[0] and label.height <= size_wh[1]:
            return label
    return None


def _measure_label(lines: list[str], scale: float) -> _Label:
    thickness = max(1, round(1.6 * scale))
    sizes = [cv2.getTextSize(line, FONT, scale, thickness)[0] for line in lines]
    step = round(1.6 * max(height for _, height in sizes))
    pad = round(0.35 * step)
    width = max(width for width, _ in sizes) + 3 * pad  # one pad is for the coloured stripe
    return _Label(lines, scale, thickness, step, pad, width, step * len(lines) + pad)


def _corners(
    box: Rectangle, label: _Label, size_wh: tuple[int, int], gap: int
) -> list[tuple[int, int]]:
    """Return candidate upper left corners for the plate, best first: above, below and beside the
    box. Each corner keeps the plate inside the image."""
    x1, y1, x2, y2 = box
    above, below = y1 - gap - label.height, y2 + gap
    left, right = x1 - gap - label.width, x2 + gap
    corners = [
        *((x1 - gap, above), (x2 + gap - label.width, above)),
        *((x1 - gap, below), (x2 + gap - label.width, below)),
        *((right, y1), (left, y1), (right, y2 - label.height), (left, y2 - label.height)),
    ]
    max_x, max_y = size_wh[0] - label.width, size_wh[1] - label.height
    return [(min(max(0, x), max_x), min(max(0, y), max_y)) for x, y in corners]


def _overlaps(plates: NDArray[np.float64], occupied: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the overlap (p, o) in pixels of the rectangles x1, y1, x2, y2 of `plates` (p, 4) and
    of `occupied` (o, 4)."""
    upper = np.maximum(plates[:, None, :2], occupied[None, :, :2])
    lower = np.minimum(plates[:, None, 2:], occupied[None, :, 2:])
    shared: NDArray[np.float64] = np.clip(lower - upper, 0, None).prod(axis=2)
    return shared


def _draw_label(canvas: NDArray[np.uint8], label: _Label, color: tuple[int, int, int]) -> None:
    """Draw a dark plate with a stripe in the colour of the box, and the text."""
    rows = slice(label.top, label.top + label.height)
    plate = canvas[rows, label.left : label.left + label.width]
    plate[:] = plate // 5
    plate[:, : max(1, label.pad // 2)] = color
    for index, line in enumerate(label.lines, start=1):
        origin = (label.left + 2 * label.pad, label.top + index * label.step)
        cv2.putText(canvas, line, origin, FONT, label.scale, WHITE, label.thickness, cv2.LINE_AA)

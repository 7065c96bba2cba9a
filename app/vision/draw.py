"""Draws the annotated image: for each face a box and its emotions, in the scale of the image."""

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

# Colours for people with colour blindness (Okabe and Ito 2008), BGR; faces take turns.
COLORS_BGR = ((0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (167, 121, 204))
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_FONT_SCALE = 0.35  # scale of FONT: letters of eight pixels, the smallest that can be read
# The time to read a file of any type, or to encode a PNG, on a slow or busy machine.
SECONDS_A_PIXEL = 1e-7
# No limit: the size was checked when the image was analysed. The analysis has the size after a
# crop, which may be smaller than that of the file.
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
    """The file of the annotated image, as image/png or image/jpeg; `data` is the analysed file. An
    image with more than `max_output_pixels` is drawn smaller.

    Raises CannotDraw for sides that the file type does not support: JPEG ends at 65,500 pixels.
    Raises DeadlineExceeded, also when there is too little time left to read or to encode: neither
    can be stopped.
    """
    file = ImageFile(data, max_pixels=UNLIMITED)
    deadline.check(file.pixels * SECONDS_A_PIXEL)
    raster = file.read(color=True, max_output_pixels=max_output_pixels)
    canvas = raster.bgr  # drawn on in place: a copy would double the memory
    _draw(canvas, _scaled(analysis, raster.scale), deadline)
    deadline.check(canvas.shape[0] * canvas.shape[1] * SECONDS_A_PIXEL)
    try:
        done, encoded = cv2.imencode(EXTENSIONS[media_type], canvas)
    except cv2.error:
        done = False
    if not done:
        raise CannotDraw(f"{analysis.width}x{analysis.height} pixels do not fit into {media_type}")
    del canvas
    return encoded.tobytes()


def _scaled(analysis: Analysis, factor: float) -> Analysis:
    """The analysis for an image with `factor` times as many pixels a side."""
    faces = tuple(replace(face, box=face.box.scaled(factor)) for face in analysis.faces)
    return replace(analysis, faces=faces)


def annotate(
    image_bgr: NDArray[np.uint8], analysis: Analysis, deadline: Deadline = NEVER
) -> NDArray[np.uint8]:
    """A copy of the upright image (height, width, 3) with boxes, and with the emotions that reach
    `analysis.threshold`. Raises DeadlineExceeded."""
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
        # A dark line around the coloured one keeps the box visible on any background.
        cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, thickness + 2, cv2.LINE_AA)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, thickness, cv2.LINE_AA)
    texts = [
        _lines(number, face, analysis.threshold)
        for number, face in enumerate(analysis.faces, start=1)
    ]
    gap = thickness // 2 + 2  # the line's outer half
    scale = max(MIN_FONT_SCALE, 0.8 * unit)
    labels = _arranged(boxes, texts, (width, height), scale=scale, gap=gap, deadline=deadline)
    for label, color in zip(labels, cycle(COLORS_BGR)):
        deadline.check()
        if label:
            _write(canvas, label, color)


@dataclass(frozen=True, slots=True)
class _Label:
    """Lines of text on a plate whose upper left corner is at `left`, `top`. In pixels, except the
    scale of FONT."""

    lines: list[str]
    scale: float
    thickness: int
    step: int  # from line to line
    pad: int
    width: int
    height: int
    left: int = 0
    top: int = 0


def _lines(number: int, face: Face, threshold: float) -> list[str]:
    """The emotions that reach the threshold, largest first: often several for scores that are not
    exclusive. The number of the face if there are none."""
    emotions = sorted(face.emotions.rounded(threshold).items(), key=lambda item: -item[1])
    return [f"{name} {value:.0%}" for name, value in emotions] or [f"face {number}"]


def _arranged(
    boxes: Sequence[Rectangle],
    texts: Sequence[list[str]],
    size_wh: tuple[int, int],
    *,
    scale: float,
    gap: int,
    deadline: Deadline,
) -> list[_Label | None]:
    """A label for each box that covers no other face or label. All labels are drawn smaller if
    there is no room otherwise. None for a box in an image that is too small for any label."""
    while True:
        labels, hidden = _placed(boxes, texts, size_wh, scale=scale, gap=gap, deadline=deadline)
        if not hidden or scale == MIN_FONT_SCALE:
            return labels
        scale = max(MIN_FONT_SCALE, 0.8 * scale)


def _placed(
    boxes: Sequence[Rectangle],
    texts: Sequence[list[str]],
    size_wh: tuple[int, int],
    *,
    scale: float,
    gap: int,
    deadline: Deadline,
) -> tuple[list[_Label | None], float]:
    """The labels, and the number of pixels of other faces and labels that they cover."""
    taken = np.array(boxes, np.float64).reshape(-1, 4)
    labels: list[_Label | None] = []
    hidden = 0.0
    for number, (box, lines) in enumerate(zip(boxes, texts, strict=True)):
        deadline.check()
        label = _fitting(number + 1, lines, scale, size_wh)
        labels.append(label)
        if label is None:
            continue
        corners = _corners(box, label, size_wh, gap)
        plates = np.array([(x, y, x + label.width, y + label.height) for x, y in corners])
        overlaps = _overlaps(plates, taken)
        best = int(overlaps.sum(axis=1).argmin())  # the first of several
        hidden += overlaps[best].sum() - overlaps[best, number]  # without the label's own face
        taken = np.vstack([taken, plates[best]])
        labels[-1] = replace(label, left=corners[best][0], top=corners[best][1])
    return labels, hidden


def _fitting(
    number: int, lines: list[str], scale: float, size_wh: tuple[int, int]
) -> _Label | None:
    """A label with as many of the lines as the image has room for, or else with the number of the
    face, or else None."""
    choices = [lines[:count] for count in range(len(lines), 0, -1)]
    for choice in [*choices, [str(number)]]:
        label = _measured(choice, scale)
        if label.width <= size_wh[0] and label.height <= size_wh[1]:
            return label
    return None


def _measured(lines: list[str], scale: float) -> _Label:
    thickness = max(1, round(1.6 * scale))
    sizes = [cv2.getTextSize(line, FONT, scale, thickness)[0] for line in lines]
    step = round(1.6 * max(height for _, height in sizes))
    pad = round(0.35 * step)
    width = max(width for width, _ in sizes) + 3 * pad  # one for the coloured stripe
    return _Label(lines, scale, thickness, step, pad, width, step * len(lines) + pad)


def _corners(
    box: Rectangle, label: _Label, size_wh: tuple[int, int], gap: int
) -> list[tuple[int, int]]:
    """Possible upper left corners of the plate, the best first: above the box, below it, at its
    sides. The plate is always within the image."""
    x1, y1, x2, y2 = box
    over, under = y1 - gap - label.height, y2 + gap
    left, right = x1 - gap - label.width, x2 + gap
    corners = [
        *((x1 - gap, over), (x2 + gap - label.width, over)),
        *((x1 - gap, under), (x2 + gap - label.width, under)),
        *((right, y1), (left, y1), (right, y2 - label.height), (left, y2 - label.height)),
    ]
    most_x, most_y = size_wh[0] - label.width, size_wh[1] - label.height
    return [(min(max(0, x), most_x), min(max(0, y), most_y)) for x, y in corners]


def _overlaps(plates: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pixels (p, t) that each of the rectangles x1, y1, x2, y2 of `plates` (p, 4) shares with
    each of `taken` (t, 4)."""
    upper = np.maximum(plates[:, None, :2], taken[None, :, :2])
    lower = np.minimum(plates[:, None, 2:], taken[None, :, 2:])
    shared: NDArray[np.float64] = np.clip(lower - upper, 0, None).prod(axis=2)
    return shared


def _write(canvas: NDArray[np.uint8], label: _Label, color: tuple[int, int, int]) -> None:
    """Draw a dark plate with a stripe in the colour of the box, and the text."""
    rows = slice(label.top, label.top + label.height)
    plate = canvas[rows, label.left : label.left + label.width]
    plate[:] = plate // 5
    plate[:, : max(1, label.pad // 2)] = color
    for index, line in enumerate(label.lines, start=1):
        origin = (label.left + 2 * label.pad, label.top + index * label.step)
        cv2.putText(canvas, line, origin, FONT, label.scale, WHITE, label.thickness, cv2.LINE_AA)

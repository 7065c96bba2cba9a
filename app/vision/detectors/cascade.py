"""Runs OpenCV's Haar cascade (Viola and Jones, CVPR 2001) in small steps.

One call of `detectMultiScale` searches the whole image at every size and cannot be stopped. Here
each call searches one strip at one size, which takes a fraction of a second for any image. The
deadline and the number of windows are checked between the calls. With the default parameters,
the result equals one call for the whole image (see `_strips`), except for a few windows in images
wider than MAX_STRIP_WIDTH.
"""

import math
import re
import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import Deadline
from app.errors import TooMuchWork

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
WINDOW = 24  # side in pixels of the detection window, the smallest face that can be found
STAGES = 25  # of the cascade
# Pixels of a strip. A call takes up to 0.1 s for a strip, and OpenCV stores 8 bytes per pixel.
STRIP_PIXELS = 200_000
MAX_STRIP_WIDTH = 16_384  # pixels
# OpenCV searches with a step of 2 pixels below this scale factor, and of 1 pixel from it on.
FINE_FACTOR = 2.0
BLOCK = 32  # number of adjacent windows in one parallel block of OpenCV

Window = tuple[int, int, int, int]  # x, y, width, height


class Cascade:
    """The cascade classifier. Thread-safe: each thread has a separate OpenCV object, because the
    object contains buffers.

    `stages`: the number of stages that a window must pass. `fine`: search from FINE_FACTOR on with
    a step of 1 pixel of the reduced image, as OpenCV does, instead of 2.
    """

    def __init__(self, *, stages: int = STAGES, fine: bool = True) -> None:
        self._stages = stages
        self._fine = fine
        self._local = threading.local()

    def search(
        self,
        gray: NDArray[np.uint8],
        factors: Iterable[float],
        *,
        max_windows: int,
        deadline: Deadline,
    ) -> list[Window]:
        """Return every window of a grey image (height, width) that passes the cascade, smallest
        windows first. `factors` are the sides of the windows divided by WINDOW, in ascending order.

        Raises TooMuchWork for more than `max_windows` windows, and DeadlineExceeded.
        """
        if not hasattr(self._local, "cascade"):
            self._local.cascade = _load(self._stages)
        found: list[Window] = []
        for factor in factors:
            if (side := round(WINDOW * factor)) > min(gray.shape):
                break
            fine = self._fine and factor >= FINE_FACTOR
            # OpenCV computes the positions in single precision.
            single = np.float32(factor)
            for left, top, strip in _strips(_scaled(gray, single), fine=fine):
                deadline.check()
                corners = passing_windows(self._local.cascade, strip, fine=fine)
                if len(found) + len(corners) > max_windows:
                    raise TooMuchWork(
                        f"the detector found more than {max_windows:,} candidate windows, more "
                        "than it can process in time: send a smaller image, raise min_face_px or "
                        "choose another detector"
                    )
                corners_px = np.rint(
                    (corners + np.array((left, top))).astype(np.float32) * single
                ).astype(int)
                found += [(x, y, side, side) for x, y in corners_px.tolist()]
        return found


def scale_factors(step: float, *, large: float = math.inf) -> Iterator[float]:
    """Yield 1 and, without end, `step` times the previous factor. From the factor `large` on,
    yield twice as many factors."""
    factor = 1.0
    while True:
        yield factor
        factor *= step if factor < large else math.sqrt(step)


def _load(stages: int) -> cv2.CascadeClassifier:
    """Load the first stages of the cascade. OpenCV has no parameter for their number."""
    head, rest = CASCADE.read_text("utf-8").split("<stages>")
    all_stages, tail = rest.split("</stages>")
    each_stage = re.split(r"(?=<_>\s*<maxWeakCount>)", all_stages.strip())[1:]
    text = f"{head}<stages>{''.join(each_stage[:stages])}</stages>{tail}"
    storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    cascade = cv2.CascadeClassifier()
    cascade.read(storage.getFirstTopLevelNode())
    return cascade


def _scaled(gray: NDArray[np.uint8], factor: np.float32) -> NDArray[np.uint8]:
    """Reduce the image exactly like OpenCV's detectMultiScale does at this scale factor."""
    if factor == 1:
        return gray
    height, width = (int(np.rint(np.float32(side) / factor)) for side in gray.shape)
    small = cv2.resize(gray, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(small, dtype=np.uint8)


def _strips(
    image: NDArray[np.uint8], *, fine: bool
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield (left, top, strip) so that each window of `image` is in exactly one strip.

    Without `fine`, OpenCV searches every second row of windows. Strips with an even number of rows
    do not change which rows it searches. Only rows wider than MAX_STRIP_WIDTH are cut: when the
    first stage rejects a window, OpenCV skips the next one, so a cut may change the skipped
    windows.
    """
    height, width = image.shape
    rows, columns = height - WINDOW + 1, width - WINDOW + 1  # numbers of window positions
    tops = _tops(rows, columns, max(2, STRIP_PIXELS // width // 2 * 2), fine=fine)
    lefts = [*range(0, columns, MAX_STRIP_WIDTH), columns]
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            strip = image[top : bottom + WINDOW - 1, left : right + WINDOW - 1]
            yield left, top, np.ascontiguousarray(strip)


def _tops(rows: int, columns: int, step: int, *, fine: bool) -> list[int]:
    """Return the first row of windows of each strip, and the row after the last strip.

    Without `fine`, OpenCV searches every second row. If the number of rows is odd, it skips the
    last row when its parallel blocks end before this row. The strips give the same result. If
    OpenCV skips the last row, no strip contains it. Otherwise the last strip has three rows.
    """
    if fine or rows % 2 == 0 or rows == 1:
        return [*range(0, rows, step), rows]
    blocks = -(-columns // BLOCK)
    if rows // 2 % blocks == 0:
        return [*range(0, rows - 1, step), rows - 1]
    return [*range(0, rows - 3, step), rows - 3, rows]


def passing_windows(
    cascade: cv2.CascadeClassifier, strip: NDArray[np.uint8], *, fine: bool
) -> NDArray[np.int64]:
    """Return the left and top positions (n, 2) of the windows of WINDOW pixels in `strip` that pass
    the cascade.

    With `fine`, OpenCV must search every row. It does so from a scale factor of FINE_FACTOR on, so
    this function doubles the strip and the side of the windows. OpenCV then reduces the doubled
    strip by this factor and searches the original pixels.
    """
    if fine:
        strip = strip.repeat(2, axis=0).repeat(2, axis=1)
    zoom = 2 if fine else 1
    window_wh = (zoom * WINDOW, zoom * WINDOW)
    windows = cascade.detectMultiScale(
        strip, scaleFactor=2.0, minNeighbors=0, minSize=window_wh, maxSize=window_wh
    )
    return np.asarray(windows, dtype=np.int64).reshape(-1, 4)[:, :2] // zoom

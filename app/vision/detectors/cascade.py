"""OpenCV's cascade of boosted Haar features (Viola and Jones, CVPR 2001), searched in small steps.

One call of OpenCV searches the whole image at every size and cannot be stopped. Here each call
searches one strip at one size, which takes a fraction of a second for any image. The deadline and
the number of windows are checked between the calls. The windows are the same as those of one call
(see `_strips`), except for a few in images that are wider than MAX_STRIP_WIDTH.
"""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import Deadline
from app.errors import TooMuchWork

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
WINDOW = 24  # pixels: the side of the smallest face that the cascade knows
# Pixels of a strip. A call takes up to 0.1 s for them, and OpenCV keeps 8 bytes for each.
STRIP_PIXELS = 200_000
MAX_STRIP_WIDTH = 16_384  # pixels: the largest width of a strip
# Below this factor OpenCV searches every second row and column, from it on all of them.
FINE_FACTOR = 2.0
BLOCK = 32  # windows side by side that OpenCV searches as one block of work

Window = tuple[int, int, int, int]  # x, y, width, height


class Cascade:
    """The cascade for many threads. Each thread has its own, because OpenCV's keeps buffers."""

    def __init__(self) -> None:
        self._local = threading.local()

    def search(
        self, gray: NDArray[np.uint8], scale_factor: float, *, max_windows: int, deadline: Deadline
    ) -> list[Window]:
        """Every window of an image (height, width) that passes the cascade, smallest size first.

        Raises TooMuchWork for more than `max_windows`, and DeadlineExceeded.
        """
        if not hasattr(self._local, "cascade"):
            self._local.cascade = cv2.CascadeClassifier(str(CASCADE))
        found: list[Window] = []
        factor = 1.0
        while (side := round(WINDOW * factor)) <= min(gray.shape):
            # OpenCV computes the positions with single precision.
            single = np.float32(factor)
            for left, top, strip in _strips(_scaled(gray, single), fine=factor >= FINE_FACTOR):
                deadline.check()
                corners = _corners(self._local.cascade, strip, fine=factor >= FINE_FACTOR)
                if len(found) + len(corners) > max_windows:
                    raise TooMuchWork(
                        f"the detector found more than {max_windows:,} candidate windows, as in a "
                        "pattern of very many faces: send a smaller image, raise min_face_px or "
                        "name another detector"
                    )
                places = np.rint(
                    (corners + np.array((left, top))).astype(np.float32) * single
                ).astype(int)
                found += [(x, y, side, side) for x, y in places.tolist()]
            factor *= scale_factor
        return found


def _scaled(gray: NDArray[np.uint8], factor: np.float32) -> NDArray[np.uint8]:
    """The image as OpenCV shrinks it to search for faces of `factor` windows."""
    if factor == 1:
        return gray
    height, width = (int(np.rint(np.float32(side) / factor)) for side in gray.shape)
    small = cv2.resize(gray, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(small, dtype=np.uint8)


def _strips(
    image: NDArray[np.uint8], *, fine: bool
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield (left, top, strip) so that each window of `image` is in exactly one strip.

    OpenCV searches the rows of windows from top to bottom, so strips with an even number of rows of
    windows give the same result. Only rows wider than MAX_STRIP_WIDTH are cut: when the first
    stage rejects a window, OpenCV skips the next one, so a cut may change the skipped windows.
    """
    height, width = image.shape
    rows, columns = height - WINDOW + 1, width - WINDOW + 1  # of windows
    tops = _tops(rows, columns, max(2, STRIP_PIXELS // width // 2 * 2), fine=fine)
    lefts = [*range(0, columns, MAX_STRIP_WIDTH), columns]
    for top, bottom in pairwise(tops):
        for left, right in pairwise(lefts):
            strip = image[top : bottom + WINDOW - 1, left : right + WINDOW - 1]
            yield left, top, np.ascontiguousarray(strip)


def _tops(rows: int, columns: int, step: int, *, fine: bool) -> list[int]:
    """The first row of windows of each strip, and the row after the last.

    When OpenCV searches every second row and the number of rows is odd, it leaves out the last row
    if its blocks of work end before that row. This function gives the same result: it leaves out
    the row in this case, and otherwise puts it into a strip of three rows.
    """
    if fine or rows % 2 == 0 or rows == 1:
        return [*range(0, rows, step), rows]
    blocks = -(-columns // BLOCK)
    if rows // 2 % blocks == 0:
        return [*range(0, rows - 1, step), rows - 1]
    return [*range(0, rows - 3, step), rows - 3, rows]


def _corners(
    cascade: cv2.CascadeClassifier, strip: NDArray[np.uint8], *, fine: bool
) -> NDArray[np.int64]:
    """Left and top (n, 2) of the windows of WINDOW pixels in `strip` that pass the cascade.

    To make OpenCV search every row, the strip is enlarged to twice its size and searched for
    windows of twice the side. OpenCV then reduces it again to exactly the pixels of the strip.
    """
    if fine:
        strip = strip.repeat(2, axis=0).repeat(2, axis=1)
    zoom = 2 if fine else 1
    only = (zoom * WINDOW, zoom * WINDOW)
    windows = cascade.detectMultiScale(
        strip, scaleFactor=2.0, minNeighbors=0, minSize=only, maxSize=only
    )
    return np.asarray(windows, dtype=np.int64).reshape(-1, 4)[:, :2] // zoom

"""Compares this service's reader with OpenCV and ImageMagick on variants of every image format.

    python -m evaluation.formats            # the tables
    python -m evaluation.formats --write    # and in docs/image-formats.md

The expected pixels of each variant are known (evaluation/variants), so all three can be wrong.
ImageMagick is optional: `apt-get install imagemagick`.
"""

import argparse
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from app.errors import EmotionError, UnsupportedImageType
from app.vision.image import ImageFile
from evaluation.variants import Variant, variants
from evaluation.variants.common import Pixels
from testbed.markdown import renew, table

PAGE = Path(__file__).parents[1] / "docs" / "image-formats.md"
RIGHT, UNSUPPORTED, REFUSED = "right", "not supported", "refused"
_MAGICK_SECONDS = 20

Reader = Callable[[Variant], Pixels | None]


@dataclass(frozen=True)
class Comparison:
    """What came of a variant in each reader: "right", "refused", or how wrong it is."""

    variant: Variant
    ours: str
    opencv: str
    magick: str | None


def judged(variant: Variant, pixels: Pixels | None) -> str:
    if pixels is None:
        return REFUSED
    height, width = variant.expected.shape[:2]
    if pixels.shape != variant.expected.shape:
        return f"{pixels.shape[1]}x{pixels.shape[0]} for {width}x{height}"
    error = float(np.abs(pixels.astype(int) - variant.expected).mean())
    return RIGHT if error <= variant.tolerance else f"wrong by {error:.0f}"


def ours(variant: Variant) -> str:
    try:
        raster = ImageFile(variant.data, max_pixels=1_000_000).read(color=True)
    except UnsupportedImageType:
        return UNSUPPORTED
    except EmotionError:
        return REFUSED
    return judged(variant, raster.bgr[:, :, ::-1])


def read_by_opencv(variant: Variant) -> Pixels | None:
    """On white where there is an alpha channel."""
    data = np.frombuffer(variant.data, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        whole = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None:
        return None
    rgb = image[:, :, ::-1].astype(float)
    if whole is not None and whole.shape == (*image.shape[:2], 4):
        most = 255 if whole.dtype == np.uint8 else 65535
        share = whole[:, :, 3:].astype(float) / most
        rgb = rgb * share + 255 * (1 - share)
    return np.asarray(np.rint(rgb), np.uint8)


def magick_command() -> str | None:
    """The program `convert` of ImageMagick, if it is there."""
    for name in ("magick", "convert"):
        if path := shutil.which(name):
            asked = [path, "-version"]
            version = subprocess.run(asked, capture_output=True, check=False)  # noqa: S603
            if b"ImageMagick" in version.stdout:
                return path
    return None


def read_by_magick(variant: Variant, command: str) -> Pixels | None:
    kind = {"WebP": "webp", "HEIC": "heic"}.get(variant.format, variant.format.lower())
    arguments = [f"{kind}:-[0]", "-auto-orient", "-background", "white", "-alpha", "remove"]
    arguments += ["-colorspace", "sRGB", "-depth", "8", "ppm:-"]
    try:
        done = subprocess.run(  # noqa: S603
            [command, *arguments], input=variant.data, capture_output=True, check=False,
            timeout=_MAGICK_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    image = cv2.imdecode(np.frombuffer(done.stdout or b"\0", np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image[:, :, ::-1], np.uint8)


def compare(all_variants: list[Variant]) -> list[Comparison]:
    command = magick_command()
    return [
        Comparison(
            variant,
            ours(variant),
            judged(variant, read_by_opencv(variant)),
            judged(variant, read_by_magick(variant, command)) if command else None,
        )
        for variant in all_variants
    ]


def summary_table(found: list[Comparison]) -> str:
    """Of each format, how many variants each reader reads right."""
    head = [
        "format",
        "variants",
        "read right",
        "not supported",
        "OpenCV right",
        "ImageMagick right",
    ]
    rows = []
    for name in dict.fromkeys(it.variant.format for it in found):
        group = [it for it in found if it.variant.format == name]
        magick = sum(it.magick == RIGHT for it in group)
        rows.append([
            name,
            str(len(group)),
            str(sum(it.ours == RIGHT for it in group)),
            str(sum(it.ours == UNSUPPORTED for it in group)),
            str(sum(it.opencv == RIGHT for it in group)),
            "–" if group[0].magick is None else str(magick),
        ])  # fmt: skip
    return table(head, rows)


def differences_table(found: list[Comparison]) -> str:
    """The variants that one of the readers does not read right."""
    head = ["variant", "this service", "OpenCV", "ImageMagick"]
    rows = [
        [f"{it.variant.format}: {it.variant.name}", it.ours, it.opencv, it.magick or "–"]
        for it in found
        if {it.ours, it.opencv, it.magick or RIGHT} != {RIGHT}
    ]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.formats", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/image-formats.md")
    asked = parser.parse_args()
    found = compare(variants())
    blocks = {"summary": summary_table(found), "differences": differences_table(found)}
    print(*blocks.values(), sep="\n\n")
    if asked.write:
        write_page(PAGE, blocks)


def write_page(page: Path, blocks: dict[str, str]) -> None:
    page.write_text(renew(page.read_text("utf-8"), blocks), "utf-8")


if __name__ == "__main__":
    main()

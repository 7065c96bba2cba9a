"""Compare the image decoder of this service with OpenCV and ImageMagick, by image format.

    python -m evaluation.formats            # print the tables
    python -m evaluation.formats --write    # also write docs/image-formats.md

The expected pixels of each variant are known (evaluation/variants), so no decoder is the reference.
ImageMagick is optional: `apt-get install imagemagick`.
"""

import argparse
import shutil
import subprocess
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
CORRECT, UNSUPPORTED, REJECTED = "correct", "not supported", "rejected"
SUMMARY_HEAD = ["format", "variants", "correct", "not supported"]
SUMMARY_HEAD += ["OpenCV correct", "ImageMagick correct"]
DIFFERENCES_HEAD = ["variant", "this service", "OpenCV", "ImageMagick"]
_MAGICK_SECONDS = 20


@dataclass(frozen=True)
class Comparison:
    """The result of each decoder for a variant: "correct", "rejected" or the difference.

    `magick` is None without ImageMagick.
    """

    variant: Variant
    service: str
    opencv: str
    magick: str | None


def judge(variant: Variant, pixels: Pixels | None) -> str:
    """Compare decoded pixels with the expected ones. None is a file that the decoder rejects."""
    if pixels is None:
        return REJECTED
    height, width = variant.expected.shape[:2]
    if pixels.shape != variant.expected.shape:
        return f"{pixels.shape[1]}x{pixels.shape[0]} instead of {width}x{height}"
    error = float(np.abs(pixels.astype(int) - variant.expected).mean())
    return CORRECT if error <= variant.tolerance else f"differs by {error:.0f}"


def judge_service(variant: Variant) -> str:
    """The result of the decoder of this service."""
    try:
        raster = ImageFile(variant.data, max_pixels=1_000_000).read(color=True)
    except UnsupportedImageType:
        return UNSUPPORTED
    except EmotionError:
        return REJECTED
    return judge(variant, raster.bgr[:, :, ::-1])


def read_by_opencv(variant: Variant) -> Pixels | None:
    """The RGB pixels by OpenCV, composited on white; None if OpenCV rejects the file."""
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
        maximum = 255 if whole.dtype == np.uint8 else 65535
        share = whole[:, :, 3:].astype(float) / maximum
        rgb = rgb * share + 255 * (1 - share)
    return np.asarray(np.rint(rgb), np.uint8)


def magick_command() -> str | None:
    """The path of ImageMagick's program, or None if it is not installed."""
    for name in ("magick", "convert"):
        if path := shutil.which(name):
            command = [path, "-version"]
            version = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
            if b"ImageMagick" in version.stdout:
                return path
    return None


def read_by_magick(variant: Variant, command: str) -> Pixels | None:
    """The RGB pixels by ImageMagick; None if it rejects the file or takes too long."""
    kind = {"WebP": "webp", "HEIC": "heic"}.get(variant.format, variant.format.lower())
    arguments = [f"{kind}:-[0]", "-auto-orient", "-background", "white", "-alpha", "remove"]
    arguments += ["-colorspace", "sRGB", "-depth", "8", "ppm:-"]
    try:
        process = subprocess.run(  # noqa: S603
            [command, *arguments], input=variant.data, capture_output=True, check=False,
            timeout=_MAGICK_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    image = cv2.imdecode(np.frombuffer(process.stdout or b"\0", np.uint8), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image[:, :, ::-1], np.uint8)


def compare(all_variants: list[Variant]) -> list[Comparison]:
    """Decode every variant with every decoder."""
    command = magick_command()
    return [
        Comparison(
            variant,
            judge_service(variant),
            judge(variant, read_by_opencv(variant)),
            judge(variant, read_by_magick(variant, command)) if command else None,
        )
        for variant in all_variants
    ]


def summary_table(found: list[Comparison]) -> str:
    """The number of variants that each decoder decodes correctly, by format (rows)."""
    rows = []
    for name in dict.fromkeys(each.variant.format for each in found):
        group = [each for each in found if each.variant.format == name]
        magick = sum(each.magick == CORRECT for each in group)
        rows.append([
            name,
            str(len(group)),
            str(sum(each.service == CORRECT for each in group)),
            str(sum(each.service == UNSUPPORTED for each in group)),
            str(sum(each.opencv == CORRECT for each in group)),
            "–" if group[0].magick is None else str(magick),
        ])  # fmt: skip
    return table(SUMMARY_HEAD, rows)


def differences_table(found: list[Comparison]) -> str:
    """The variants that at least one decoder does not decode correctly."""
    rows = [
        [
            f"{each.variant.format}: {each.variant.name}",
            each.service,
            each.opencv,
            each.magick or "–",
        ]
        for each in found
        if {each.service, each.opencv, each.magick or CORRECT} != {CORRECT}
    ]
    return table(DIFFERENCES_HEAD, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evaluation.formats", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"write the tables of docs/{PAGE.name}"
    )
    arguments = parser.parse_args()
    found = compare(variants())
    blocks = {"summary": summary_table(found), "differences": differences_table(found)}
    print(*blocks.values(), sep="\n\n")
    if arguments.write:
        write_page(PAGE, blocks)


def write_page(page: Path, blocks: dict[str, str]) -> None:
    """Replace the blocks of the page."""
    page.write_text(renew(page.read_text("utf-8"), blocks), "utf-8")


if __name__ == "__main__":
    main()

"""JPEG, WebP, HEIC and AVIF files, written by libraries."""

import io
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from evaluation.variants.common import (
    HEIGHT,
    WIDTH,
    Pixels,
    Variant,
    alpha_channel,
    color_image,
    exif_block,
    file_of,
    gray_image,
    on_white,
    stored_pixels,
    xmp_packet,
)
from testbed.heif_writer import coded_item, heif_file, mirror, turn


def jpegs() -> Iterator[Variant]:
    rgb, gray = color_image(), gray_image()
    colors, gray_rgb = Image.fromarray(rgb), np.dstack([gray] * 3)
    modes = {"RGB": (colors, rgb), "grey": (Image.fromarray(gray), gray_rgb)}
    for (mode, (image, expected)), progressive, restarts, end in product(
        modes.items(), (False, True), (0, 2), (True, False)
    ):
        for subsampling in (0, 1, 2) if mode == "RGB" else (0,):
            data = file_of(
                image, "JPEG", quality=95, subsampling=subsampling, progressive=progressive,
                restart_marker_blocks=restarts,
            )  # fmt: skip
            name = f"{mode}, {('4:4:4', '4:2:2', '4:2:0')[subsampling]}"
            name += ", progressive" * progressive + ", restarts" * bool(restarts)
            name += ", no end marker" * (not end)
            yield Variant("JPEG", name, data if end else data[:-2], expected, 5)
    yield Variant("JPEG", "RGB without conversion",
                  file_of(colors, "JPEG", quality=95, keep_rgb=True), rgb, 5)  # fmt: skip
    for progressive in (False, True):
        data = file_of(colors.convert("CMYK"), "JPEG", quality=95, progressive=progressive)
        name = "CMYK, inverted (Adobe)" + ", progressive" * progressive
        yield Variant("JPEG", name, data, rgb, 5)
    data = file_of(colors.convert("CMYK"), "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    plain = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    yield Variant("JPEG", "CMYK, no Adobe marker", plain, rgb, 5)
    for orientation in range(1, 9):
        stored = Image.fromarray(stored_pixels(rgb, orientation))
        options = {"quality": 95, "subsampling": 0}
        data = file_of(stored, "JPEG", exif=exif_block(orientation), **options)
        yield Variant("JPEG", f"EXIF orientation {orientation}", data, rgb, 5)
        data = file_of(stored, "JPEG", xmp=xmp_packet(orientation), **options)
        yield Variant("JPEG", f"XMP orientation {orientation}", data, rgb, 5)


def webps() -> Iterator[Variant]:
    rgb, alpha = color_image(), alpha_channel()
    colors = Image.fromarray(rgb)
    clear = Image.fromarray(np.dstack([rgb, alpha]))
    other = colors.transpose(Image.Transpose.ROTATE_180)
    for lossless, method in product((False, True), (0, 4, 6)):
        name = ("lossy", "lossless")[lossless] + f", method {method}"
        options: dict[str, Any] = {"lossless": lossless, "quality": 95, "method": method}
        tolerance = 1.0 if lossless else 7.0
        yield Variant("WebP", name, file_of(colors, "WEBP", **options), rgb, tolerance)
        expected = on_white(rgb, alpha)
        data = file_of(clear, "WEBP", exact=True, **options)
        yield Variant("WebP", f"{name}, alpha", data, expected, tolerance)
        data = file_of(colors, "WEBP", save_all=True, append_images=[other], **options)
        yield Variant("WebP", f"{name}, animated", data, rgb, tolerance)
    for orientation in range(1, 9):
        stored = Image.fromarray(stored_pixels(rgb, orientation))
        data = file_of(stored, "WEBP", lossless=True, exif=exif_block(orientation))
        yield Variant("WebP", f"EXIF orientation {orientation}", data, rgb)
        data = file_of(stored, "WEBP", lossless=True, xmp=xmp_packet(orientation))
        yield Variant("WebP", f"XMP orientation {orientation}", data, rgb)


_ROTATIONS: dict[str, tuple[tuple[tuple[bytes, bytes], ...], Callable[[Pixels], Pixels]]] = {
    "90°": ((turn(1),), lambda pixels: np.rot90(pixels, 1)),
    "180°": ((turn(2),), lambda pixels: np.rot90(pixels, 2)),
    "270°": ((turn(3),), lambda pixels: np.rot90(pixels, 3)),
    "mirrored": ((mirror(1),), np.fliplr),
    "upside down": ((mirror(0),), np.flipud),
    "90°, mirrored": (
        (turn(1), mirror(1)),
        lambda pixels: np.fliplr(np.rot90(pixels, 1)),
    ),
    "270°, mirrored": (
        (turn(3), mirror(1)),
        lambda pixels: np.fliplr(np.rot90(pixels, 3)),
    ),
}


def heifs() -> Iterator[Variant]:
    rgb, gray, alpha = color_image(), gray_image(), alpha_channel()
    images = {
        "RGB": (Image.fromarray(rgb), rgb),
        "grey": (Image.fromarray(gray), np.dstack([gray] * 3)),
        "alpha": (Image.fromarray(np.dstack([rgb, alpha])), on_white(rgb, alpha)),
    }
    for (mode, (image, expected)), chroma in product(images.items(), (420, 422, 444)):
        data = io.BytesIO()
        pillow_heif.from_pillow(image).save(data, quality=95, chroma=chroma)
        yield Variant("HEIC", f"{mode}, {chroma}", data.getvalue(), expected, 7)
        ratio = ":".join(str(chroma))
        avif = file_of(image, "AVIF", quality=95, subsampling=ratio)
        yield Variant("AVIF", f"{mode}, {chroma}", avif, expected, 7)
    for bits in (10, 12):
        deep = (rgb.astype(np.uint16) * 257).tobytes()
        file = pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), deep)
        pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
        data = io.BytesIO()
        file.save(data, quality=95, chroma=444)
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
        yield Variant("HEIC", f"RGB, {bits} bits", data.getvalue(), rgb, 7)
    options: dict[str, dict[str, Any]] = {"HEIC": {"chroma": 444}, "AVIF": {"subsampling": "4:4:4"}}
    for kind, brand in (("HEIC", "HEIF"), ("AVIF", "AVIF")):
        item = coded_item(Image.fromarray(rgb), brand, **options[kind])
        for name, (properties, rotated) in _ROTATIONS.items():
            more = type(item)(item.kind, item.data, (*item.properties, *properties))
            yield Variant(kind, f"rotated: {name}", heif_file(brand, [more]), rotated(rgb), 7)

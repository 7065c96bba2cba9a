"""PNG files by bit depth, colour type, interlacing and transparency."""

import struct
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.variants.common import (
    Pixels,
    Variant,
    alpha_channel,
    color_image,
    exif_block,
    file_of,
    gray_image,
    on_white,
    packed_rows,
    quantized,
    stored_pixels,
    to_rgb,
    xmp_packet,
)
from testbed.image_writers import png, png_chunk

_ADAM7 = (
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)
)  # fmt: skip


def _png(
    numbers: NDArray[np.int64], color: int, bits: int, *, interlaced: bool = False,
    chunks: bytes = b"",
) -> bytes:  # fmt: skip
    """A PNG file of `numbers` (height, width, channels)."""
    height, width, _ = numbers.shape
    passes = [numbers]
    if interlaced:
        passes = [numbers[y::step_y, x::step_x] for y, x, step_y, step_x in _ADAM7]
    raw = b"".join(
        b"\0" + row
        for part in passes
        if part.size
        for row in packed_rows(part.reshape(part.shape[0], -1), bits)
    )
    data = bytearray(png(width, height, b"", bits=bits, color=color))
    if interlaced:
        head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 1)
        data[8:] = png_chunk(b"IHDR", head)
    return bytes(data) + chunks + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")


def _png_variant(
    name: str, numbers: NDArray[np.int64], color: int, bits: int, expected: Pixels, *,
    interlaced: bool, chunks: bytes = b"",
) -> Variant:  # fmt: skip
    data = _png(numbers, color, bits, interlaced=interlaced, chunks=chunks)
    return Variant(
        "PNG",
        f"{name}, {bits} bit" + "s" * (bits > 1) + ", interlaced" * interlaced,
        data,
        expected,
    )


def pngs() -> Iterator[Variant]:
    rgb, gray, alpha = color_image(), gray_image(), alpha_channel()
    for interlaced in (False, True):
        make = partial(_png_variant, interlaced=interlaced)
        for bits in (1, 2, 4, 8, 16):
            numbers = quantized(gray, bits)
            yield make("grey", numbers[..., None], 0, bits, to_rgb(numbers, bits))
            key = int(numbers[0, 0])
            keyed = to_rgb(numbers, bits)
            keyed[numbers == key] = 255
            chunk = png_chunk(b"tRNS", struct.pack(">H", key))
            yield make("grey, one transparent", numbers[..., None], 0, bits, keyed, chunks=chunk)
        for bits in (8, 16):
            numbers = quantized(rgb, bits)
            yield make("RGB", numbers, 2, bits, to_rgb(numbers, bits))
            key_rgb = numbers[0, 0]
            keyed = to_rgb(numbers, bits)
            keyed[(numbers == key_rgb).all(axis=2)] = 255
            chunk = png_chunk(b"tRNS", struct.pack(">3H", *map(int, key_rgb)))
            yield make("RGB, one transparent", numbers, 2, bits, keyed, chunks=chunk)
            deep = quantized(alpha, bits)
            yield make("grey with alpha", np.dstack([quantized(gray, bits), deep]), 4, bits,
                       on_white(np.dstack([gray] * 3), alpha))  # fmt: skip
            yield make("RGB with alpha", np.dstack([numbers, deep]), 6, bits, on_white(rgb, alpha))
        for bits in (1, 2, 4, 8):
            palette = np.stack([np.arange(2**bits)[::-1] * 255 // (2**bits - 1)] * 3, 1)
            palette[:, 1] //= 2
            numbers = quantized(gray, bits)
            chunk = png_chunk(b"PLTE", palette.astype(np.uint8).tobytes())
            expected = palette[numbers].astype(np.uint8)
            yield make("palette", numbers[..., None], 3, bits, expected, chunks=chunk)
            clear = expected.copy()
            clear[numbers == 0] = 255
            chunk += png_chunk(b"tRNS", b"\0")
            yield make("palette, one transparent", numbers[..., None], 3, bits, clear, chunks=chunk)
    for orientation in range(1, 9):
        stored = Image.fromarray(stored_pixels(rgb, orientation))
        data = file_of(stored, "PNG", exif=exif_block(orientation))
        yield Variant("PNG", f"EXIF orientation {orientation}", data, rgb)
        text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp_packet(orientation))
        plain = file_of(stored, "PNG")
        yield Variant("PNG", f"XMP orientation {orientation}", plain[:33] + text + plain[33:], rgb)

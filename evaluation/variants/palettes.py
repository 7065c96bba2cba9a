"""GIF and BMP files by palette, header, bit masks and direction."""

import struct
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from PIL import Image

from evaluation.variants.common import (
    HEIGHT,
    WIDTH,
    Pixels,
    Variant,
    alpha_channel,
    color_image,
    file_of,
    gray_image,
    on_white,
    packed_rows,
    quantized,
    uint8,
)
from testbed.image_writers import run_length_bmp


def gifs() -> Iterator[Variant]:
    gray = gray_image()
    for bits, interlaced, transparent, animated in product(
        range(1, 9), (0, 1), (False, True), (False, True)
    ):
        numbers = quantized(gray, bits)
        image = Image.fromarray(numbers.astype(np.uint8)).convert("P")
        levels = np.arange(2**bits) * 255 // (2**bits - 1)
        palette = np.stack([levels, levels[::-1], levels // 2], 1).astype(np.uint8)
        image.putpalette(palette.tobytes())
        expected = palette[numbers]
        options: dict[str, Any] = {"interlace": interlaced, "optimize": False}
        if transparent:
            options["transparency"] = 0
            expected[numbers == 0] = 255
        if animated:
            other = image.transpose(Image.Transpose.ROTATE_180)
            options |= {"save_all": True, "append_images": [other], "disposal": 2}
        name = f"{2**bits} colours" + ", interlaced" * interlaced
        name += ", one transparent" * transparent + ", animated" * animated
        yield Variant("GIF", name, file_of(image, "GIF", **options), expected)


_HEADERS = {12: "core", 40: "info", 52: "V2", 56: "V3", 64: "OS/2", 108: "V4", 124: "V5"}
_MASKS = {
    "X1R5G5B5": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "R5G6B5": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "X8R8G8B8": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "A8R8G8B8": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "A8B8G8R8": (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
    "R8G8B8A8": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
}


def _bmp(
    header: int, bits: int, rows: list[bytes], *, palette: bytes = b"",
    masks: tuple[int, ...] = (), top_down: bool = False,
) -> bytes:  # fmt: skip
    """A BMP file of unpadded rows, ordered from the top."""
    padded = [row + bytes(-len(row) % 4) for row in rows]
    body = b"".join(padded if top_down else padded[::-1])
    height = -HEIGHT if top_down else HEIGHT
    if header == 12:
        info = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, 3 if masks else 0,
                           len(body), 2835, 2835, 2**bits if palette else 0, 0)  # fmt: skip
        room = header - 40
        packed = struct.pack("<4I", *masks) if masks else b""
        info += (packed[:room] + bytes(room))[:room] if room else packed[:12]
        if header >= 108:  # sRGB
            info = info[:56] + b"BGRs" + info[60:]
    start = 14 + len(info) + len(palette)
    return struct.pack("<2sIII", b"BM", start + len(body), 0, start) + info + palette + body


def _masked(rgba: Pixels, bits: int, masks: tuple[int, ...]) -> tuple[list[bytes], Pixels]:
    """Pack pixels by bit masks. Return the rows and the RGBA pixels that they represent."""
    values = np.zeros(rgba.shape[:2], np.int64)
    represented = rgba.copy()
    for channel, mask in enumerate(masks):
        if not mask:
            continue
        low = (mask & -mask).bit_length() - 1
        wide = (mask >> low).bit_length()
        numbers = quantized(rgba[..., channel], wide)
        represented[..., channel] = np.rint(numbers * 255 / (2**wide - 1))
        values |= numbers << low
    return packed_rows(values, bits, "<"), represented


def bmps() -> Iterator[Variant]:
    rgb, gray, alpha = color_image(), gray_image(), alpha_channel()
    for (header, name), top_down in product(_HEADERS.items(), (False, True)):
        if header in (12, 64) and top_down:
            continue
        note = f"{name} header" + ", top down" * top_down
        for bits in (1, 4, 8):
            numbers = quantized(gray, bits)
            levels = np.arange(2**bits) * 255 // (2**bits - 1)
            palette = np.stack([levels, levels[::-1], levels // 2], 1).astype(np.uint8)
            wide = np.zeros((2**bits, 3 if header == 12 else 4), np.uint8)
            wide[:, :3] = palette[:, ::-1]
            data = _bmp(header, bits, packed_rows(numbers, bits), palette=wide.tobytes(),
                        top_down=top_down)  # fmt: skip
            yield Variant("BMP", f"{note}, {2**bits} colours", data, palette[numbers])
        data = _bmp(header, 24, [row[:, ::-1].tobytes() for row in rgb], top_down=top_down)
        yield Variant("BMP", f"{note}, 24 bits", data, rgb)
        if header in (12, 64):
            continue
        rows, represented = _masked(np.dstack([rgb, alpha]), 16, _MASKS["X1R5G5B5"][1])
        data = _bmp(header, 16, rows, top_down=top_down)
        yield Variant("BMP", f"{note}, 16 bits", data, represented[..., :3], 4)
        rows, _ = _masked(np.dstack([rgb, alpha * 0]), 32, _MASKS["X8R8G8B8"][1])
        yield Variant("BMP", f"{note}, 32 bits", _bmp(header, 32, rows, top_down=top_down), rgb)
        for layout, (bits, masks) in _MASKS.items():
            if masks[3] and header < 56:
                continue
            for suffix, values in (
                ("", alpha),
                (", alpha 0", uint8(alpha * 0)),
                (", opaque", uint8(alpha | 255)),
            ):
                if suffix and not masks[3]:
                    continue
                rows, represented = _masked(np.dstack([rgb, values]), bits, masks)
                data = _bmp(header, bits, rows, masks=masks, top_down=top_down)
                expected = represented[..., :3]
                if masks[3] and values.any():
                    expected = on_white(expected, values)
                yield Variant("BMP", f"{note}, {layout}{suffix}", data, expected, 4)
    runs = b"".join(bytes([WIDTH, row * 10, 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    levels = np.tile((np.arange(HEIGHT)[::-1] * 10).astype(np.uint8)[:, None], (1, WIDTH))
    yield Variant("BMP", "RLE8", run_length_bmp(runs, WIDTH, HEIGHT), np.dstack([levels] * 3))

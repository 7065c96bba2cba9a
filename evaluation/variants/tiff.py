"""TIFF files by byte order, bit depth, colour space, layout and compression."""

import struct
import zlib
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.variants.common import (
    HEIGHT,
    Variant,
    alpha_channel,
    cmyk_of,
    cmyk_rgb,
    color_image,
    file_of,
    gray_image,
    on_white,
    packed_rows,
    quantized,
    stored_pixels,
    to_rgb,
)


def _tiff(
    numbers: NDArray[np.int64], bits: int, photometric: int, *, order: str = "<",
    compression: int = 1, planar: bool = False, rows_per_strip: int = HEIGHT, tile: int = 0,
    predictor: bool = False, extra: int | None = None, orientation: int = 1,
    reverse_bits: bool = False, colormap: bytes = b"", big: bool = False, sample_format: int = 1,
) -> bytes:  # fmt: skip
    """A TIFF file of `numbers` (height, width, channels)."""
    height, width, channels = numbers.shape
    planes = [numbers[..., [channel]] for channel in range(channels)] if planar else [numbers]
    pieces = []
    for plane in planes:
        if tile:
            padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)), "edge")
            parts = [
                padded[y : y + tile, x : x + tile]
                for y in range(0, height, tile)
                for x in range(0, width, tile)
            ]
        else:
            parts = [plane[y : y + rows_per_strip] for y in range(0, height, rows_per_strip)]
        for part in parts:
            values = np.diff(part, axis=1, prepend=0) % 2**bits if predictor else part
            raw = b"".join(packed_rows(values.reshape(values.shape[0], -1), bits, order))
            if reverse_bits:
                raw = bytes(int(f"{byte:08b}"[::-1], 2) for byte in raw)
            pieces.append(_compressed(raw, compression))
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * channels),
        259: ("H", [compression]), 262: ("H", [photometric]), 274: ("H", [orientation]),
        277: ("H", [channels]), 284: ("H", [2 if planar else 1]),
        339: ("H", [sample_format] * channels),
    }  # fmt: skip
    if tile:
        entries |= {322: ("I", [tile]), 323: ("I", [tile]), 324: ("I", []), 325: ("I", [])}
    else:
        entries |= {278: ("I", [rows_per_strip]), 273: ("I", []), 279: ("I", [])}
    if predictor:
        entries[317] = ("H", [2])
    if extra is not None:
        entries[338] = ("H", [extra])
    if reverse_bits:
        entries[266] = ("H", [2])
    if colormap:
        entries[320] = ("H", list(struct.unpack(f"<{len(colormap) // 2}H", colormap)))
    lengths = [len(piece) for piece in pieces]
    entries[325 if tile else 279] = ("I", lengths)
    where = 16 if big else 8
    starts = [where + sum(lengths[:index]) for index in range(len(lengths))]
    entries[324 if tile else 273] = ("I", starts)
    return _directory(entries, b"".join(pieces), order, big=big)


def _compressed(raw: bytes, compression: int) -> bytes:
    if compression in (8, 32946):
        return zlib.compress(raw)
    if compression == 32773:
        chunks = [raw[at : at + 128] for at in range(0, len(raw), 128)]
        return b"".join(bytes([len(chunk) - 1]) + chunk for chunk in chunks)
    return raw


def _directory(
    entries: dict[int, tuple[str, list[int]]], body: bytes, order: str, *, big: bool
) -> bytes:
    """A TIFF file of `body` and one directory. The values have the type H or I."""
    body += bytes(len(body) % 2)
    room, head = (8, 16) if big else (4, 8)
    extra, fields = b"", b""
    at = head + len(body)
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        count = struct.pack(f"{order}{'Q' if big else 'I'}", len(values))
        if len(packed) > room:
            value = struct.pack(f"{order}{'Q' if big else 'I'}", at + len(extra))
            extra += packed + bytes(len(packed) % 2)
        else:
            value = packed.ljust(room, b"\0")
        fields += struct.pack(f"{order}HH", tag, 3 if kind == "H" else 4) + count + value
    mark = b"II" if order == "<" else b"MM"
    start = at + len(extra)
    if big:
        first = mark + struct.pack(f"{order}HHHQ", 43, 8, 0, start)
        table = struct.pack(f"{order}Q", len(entries)) + fields + bytes(8)
    else:
        first = mark + struct.pack(f"{order}HI", 42, start)
        table = struct.pack(f"{order}H", len(entries)) + fields + bytes(4)
    return first + body + extra + table


def tiffs() -> Iterator[Variant]:
    yield from _gray_tiffs()
    yield from _color_tiffs()
    rgb = color_image()
    colors = Image.fromarray(rgb)
    for method, tolerance in (("tiff_lzw", 1), ("jpeg", 6)):
        data = file_of(colors, "TIFF", compression=method)
        yield Variant("TIFF", f"RGB, {method}", data, rgb, tolerance)
    data = file_of(colors, "TIFF", save_all=True, append_images=[colors.rotate(180)])
    yield Variant("TIFF", "two pages", data, rgb)
    for orientation, compression, order in product(range(1, 9), (1, 8), "<>"):
        stored = stored_pixels(rgb, orientation).astype(np.int64)
        data = _tiff(
            stored, 8, 2, order=order, compression=compression, orientation=orientation,
            rows_per_strip=len(stored),
        )  # fmt: skip
        name = f"orientation {orientation}, compression {compression}, {_ORDERS[order]}"
        yield Variant("TIFF", name, data, rgb)


def _bits(bits: int) -> str:
    return f"{bits} bit" + "s" * (bits > 1)


_ORDERS = {"<": "little-endian", ">": "big-endian"}


def _gray_tiffs() -> Iterator[Variant]:
    gray = gray_image()
    for order, bits, white, compression in product(
        "<>", (1, 2, 4, 8, 12, 16, 32), (False, True), (1, 8, 32773)
    ):
        numbers = quantized(gray, bits)
        stored = 2**bits - 1 - numbers if white else numbers
        data = _tiff(
            stored[..., None], bits, 0 if white else 1, order=order, compression=compression,
            rows_per_strip=10,
        )  # fmt: skip
        name = f"grey, {_bits(bits)}, {'0 is white' if white else '0 is black'}, "
        name += f"{_ORDERS[order]}, compression {compression}"
        supported = bits < 12 or (bits == 16 and not (white and order == ">"))
        supported = supported or (bits == 12 and order == "<" and not white)
        yield Variant("TIFF", name, data, to_rgb(numbers, bits), 1, supported)
    for bits in (1, 2, 4, 8):
        numbers = quantized(gray, bits)
        data = _tiff(numbers[..., None], bits, 1, reverse_bits=True)
        yield Variant("TIFF", f"grey, {_bits(bits)}, bits reversed", data, to_rgb(numbers, bits))


def _color_tiffs() -> Iterator[Variant]:
    rgb, gray, alpha = color_image(), gray_image(), alpha_channel()
    for order, bits, compression, planar, tile, predictor in product(
        "<>", (8, 16), (1, 8), (False, True), (0, 16), (False, True)
    ):
        if predictor and compression == 1:
            continue
        numbers = quantized(rgb, bits)
        data = _tiff(
            numbers, bits, 2, order=order, compression=compression, planar=planar, tile=tile,
            predictor=predictor, rows_per_strip=7,
        )  # fmt: skip
        name = f"RGB, {bits} bits, {_ORDERS[order]}, compression {compression}"
        name += ", planar" * planar + ", tiled" * bool(tile) + ", predictor" * predictor
        supported = not (bits == 16 and planar and compression == 1)
        yield Variant("TIFF", name, data, to_rgb(numbers, bits), 1, supported)
    for order, bits, extra in product("<>", (8, 16), (0, 1, 2)):
        values = rgb.astype(np.int64)
        if extra == 1:
            values = np.rint(values * (alpha[..., None] / 255)).astype(np.int64)
        deep = np.dstack([values, alpha]) * (257 if bits == 16 else 1)
        expected = rgb if extra == 0 else on_white(rgb, alpha)
        name = f"RGB, {bits} bits, {('unspecified', 'premultiplied', 'plain')[extra]} alpha, "
        data = _tiff(deep, bits, 2, order=order, extra=extra)
        yield Variant("TIFF", name + _ORDERS[order], data, expected, 2)
        if bits == 8:
            light = gray if extra != 1 else np.rint(gray * (alpha / 255)).astype(np.uint8)
            both = np.dstack([light, alpha]).astype(np.int64)
            expected = np.dstack([gray] * 3)
            expected = expected if extra == 0 else on_white(expected, alpha)
            data = _tiff(both, 8, 1, order=order, extra=extra)
            yield Variant("TIFF", name.replace("RGB", "grey") + _ORDERS[order], data, expected, 2)
    for order, bits in product("<>", (1, 2, 4, 8)):
        levels = np.arange(2**bits) * 255 // (2**bits - 1)
        palette = np.stack([levels, levels[::-1], levels // 2], 1)
        colormap = (palette.T * 257).astype("<u2").tobytes()
        numbers = quantized(gray, bits)
        data = _tiff(numbers[..., None], bits, 3, order=order, colormap=colormap)
        expected = palette[numbers].astype(np.uint8)
        yield Variant("TIFF", f"palette, {_bits(bits)}, {_ORDERS[order]}", data, expected)
    cmyk = cmyk_of(rgb)
    for order, bits, planar in product("<>", (8, 16), (False, True)):
        numbers = cmyk.astype(np.int64) * (257 if bits == 16 else 1)
        data = _tiff(numbers, bits, 5, order=order, planar=planar)
        name = f"CMYK, {bits} bits, {_ORDERS[order]}" + ", planar" * planar
        supported = not (bits == 16 and planar)
        yield Variant("TIFF", name, data, cmyk_rgb(cmyk), 2, supported)
    for big, order in product((False, True), "<>"):
        data = _tiff(rgb.astype(np.int64), 8, 2, order=order, big=big)
        name = f"{'BigTIFF' if big else 'TIFF'}, {_ORDERS[order]}"
        yield Variant("TIFF", name, data, rgb, 1, not (big and order == ">"))

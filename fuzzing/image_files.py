"""Damaged pictures: good ones of every kind that is served, and what may happen to their bytes.

Half of what happens knows the file's structure (lengths, sizes, types of chunks, tags, whole chunks
left out or said twice), since blind changes seldom come past the first check. A PNG gets its
checksums right again most of the time, for the same reason.
"""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
import pillow_heif
from PIL import Image

from app.settings import ROOT

PHOTOGRAPH = ROOT / "docs" / "astronaut.jpg"
PNG_START = b"\x89PNG\r\n\x1a\n"

# Where programs that count are off by one.
NUMBERS: tuple[int, ...] = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF)
NUMBERS += (0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
NUMBERS += (7_000, 30_000, 2**40, 2**63)

Piece = tuple[int, int]  # offset and length in bytes


@cache
def good_images() -> tuple[bytes, ...]:
    """Small pictures of every type, mode and compression that is read, drawn here, and pieces of a
    photograph."""
    across, down = np.meshgrid(np.arange(48), np.arange(32))
    drawn = Image.fromarray(np.stack([across * 5, down * 7, across ^ down], 2).astype(np.uint8))
    photograph = Image.open(PHOTOGRAPH)
    face = photograph.crop((170, 50, 290, 170))
    deep = Image.fromarray(np.asarray(drawn.convert("L")).astype(np.uint16) * 257)
    palette = drawn.quantize(16)
    more = (drawn.rotate(90), drawn.rotate(180))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    alpha = drawn.copy()
    alpha.putalpha(128)
    made = [
        PHOTOGRAPH.read_bytes(),
        _file(face, "JPEG"),
        _file(face, "JPEG", progressive=True, exif=exif, comment="drawn"),
        _file(face, "JPEG", restart_marker_blocks=4, icc_profile=bytes(300)),
        _file(drawn.convert("L"), "JPEG"),
        _file(drawn.convert("CMYK"), "JPEG", exif=exif),
        _file(drawn, "MPO", more=more),
        _file(drawn, "PNG", exif=exif),
        _file(alpha, "PNG", icc_profile=bytes(300)),
        _file(palette, "PNG", transparency=3, bits=4),
        _file(deep, "PNG"),
        _file(drawn.convert("1"), "PNG"),
        _file(drawn, "PNG", more=more),
        _file(face, "WEBP"),
        _file(alpha, "WEBP", exif=exif),
        _file(drawn, "WEBP", lossless=True),
        _file(drawn, "WEBP", more=more),
        _file(drawn, "BMP"),
        _file(palette, "BMP"),
        _file(drawn.convert("1"), "BMP"),
        run_length_bmp(bytes([12, 3, 0, 4, 1, 2, 3, 4, 0, 0, 16, 9, 0, 0] * 8 + [0, 1])),
        *(
            _file(drawn, "TIFF", compression=how)
            for how in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        _file(drawn.convert("CMYK"), "TIFF", exif=exif),
        _file(deep, "TIFF"),
        _file(drawn, "TIFF", compression="tiff_lzw", big_tiff=True),
        _file(drawn, "TIFF", more=more),
        tiled_tiff(drawn),
        _file(palette, "GIF"),
        _file(palette, "GIF", transparency=2, comment=b"drawn", interlace=1),
        _file(drawn, "GIF", more=more, loop=0),
        *_heif_files(drawn, alpha, more),
    ]
    return tuple(made)


def _heif_files(
    drawn: Image.Image, alpha: Image.Image, more: tuple[Image.Image, ...]
) -> list[bytes]:
    made = [_file(image, "AVIF") for image in (drawn, alpha, drawn.convert("L"))]
    made.append(_file(drawn, "AVIF", more=more))
    for images, options in (
        ((drawn,), {}),
        ((alpha,), {}),
        ((drawn.convert("L"), *more), {}),
        ((drawn.resize((96, 64)),), {"tile_size": 64}),
    ):
        file = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
        for image in images:
            file.add_from_pillow(image)
        data = io.BytesIO()
        file.save(data, **options)
        made.append(data.getvalue())
    return made


def _file(
    image: Image.Image, kind: str, more: tuple[Image.Image, ...] = (), **options: Any
) -> bytes:
    data = io.BytesIO()
    if more:
        options |= {"save_all": True, "append_images": [frame.copy() for frame in more]}
    image.copy().save(data, kind, **options)  # copies: Pillow notes in them how they were saved
    return data.getvalue()


def run_length_bmp(codes: bytes, width: int = 16, height: int = 16) -> bytes:
    """An 8-bit BMP in run-length encoding, which Pillow reads and does not write."""
    colors = b"".join(bytes([level, level, level, 0]) for level in range(256))
    start = 54 + len(colors)
    head = struct.pack("<2sIII", b"BM", start + len(codes), 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(codes), 2835, 2835, 256, 256)
    return head + info + colors + codes


def tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    """A little-endian TIFF of `data`, which begins at byte 8, and one directory of
    (tag, type, count, value or offset)."""
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def tiled_tiff(image: Image.Image, side: int = 16) -> bytes:
    """A picture of colours in tiles, which Pillow reads and does not write; its sides are
    multiples of `side`."""
    pixels = np.asarray(image)
    tiles = [
        zlib.compress(np.ascontiguousarray(pixels[y : y + side, x : x + side]).tobytes())
        for y in range(0, image.height, side)
        for x in range(0, image.width, side)
    ]
    body, offsets = struct.pack("<3H", 8, 8, 8) + bytes(2), []
    for tile in tiles:
        offsets.append(8 + len(body))
        body += tile + bytes(len(tile) % 2)
    where = 8 + len(body)
    body += struct.pack(f"<{len(tiles)}I", *offsets)
    body += struct.pack(f"<{len(tiles)}I", *map(len, tiles))
    return tiff(
        [
            (256, 4, 1, image.width),
            (257, 4, 1, image.height),
            (258, 3, 3, 8),
            (259, 3, 1, 8),
            (262, 3, 1, 2),
            (277, 3, 1, 3),
            (322, 4, 1, side),
            (323, 4, 1, side),
            (324, 4, len(tiles), where),
            (325, 4, len(tiles), where + 4 * len(tiles)),
        ],
        body,
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rest: bytes, *, bits: int = 8, color: int = 2) -> bytes:
    """A PNG with chunks of any kind behind its header."""
    return (
        PNG_START
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
        + rest
    )


# ---------------------------------------------------------------- structure


def pieces(data: bytes) -> list[Piece]:
    """The chunks, segments or directory entries of a file, headers included, as far as they can be
    followed."""
    if data.startswith(PNG_START):
        return _walk(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"\xff\xd8"):
        return _walk(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return [(0, 12), *_walk(data, 12, lambda at: _riff_length(data, at))]
    if data[:2] in (b"II", b"MM"):
        return _entries(data)
    if data.startswith(b"GIF"):
        return [(0, 13), *_gif_blocks(data)]
    is_bmp = data[4:8] != b"ftyp"
    return [(0, 14), (14, 40)] if is_bmp else _iso_boxes(data, 0, len(data))[:256]


def _walk(data: bytes, at: int, length: Callable[[int], int]) -> list[Piece]:
    found: list[Piece] = []
    while at + 4 <= len(data) and len(found) < 64:
        found.append((at, min(length(at), len(data) - at)))
        at += length(at)
    return found


def _riff_length(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    return 8 + length + length % 2


def _entries(data: bytes) -> list[Piece]:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    at = int.from_bytes(data[8:16] if big else data[4:8], order)
    count = int.from_bytes(data[at : at + (8 if big else 2)], order)
    first, each = (at + 8, 20) if big else (at + 2, 12)
    entries = [(first + each * number, each) for number in range(min(count, 64))]
    return [(0, 16 if big else 8), *(it for it in entries if sum(it) <= len(data))]


# Boxes that hold boxes, and the bytes before the first of them.
_ISO_PARENTS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4}


def _iso_boxes(data: bytes, at: int, end: int) -> list[Piece]:
    found: list[Piece] = []
    while at + 8 <= end and len(found) < 256:
        length = min(max(8, int.from_bytes(data[at : at + 4], "big")), end - at)
        found.append((at, length))
        before = _ISO_PARENTS.get(data[at + 4 : at + 8])
        if before is not None:
            found += _iso_boxes(data, at + 8 + before, at + length)
        at += length
    return found


def _gif_blocks(data: bytes) -> list[Piece]:
    """Extensions and frames, by their marks; some may be pixels that look like one."""
    marks = [at for at in range(13, len(data)) if data[at : at + 1] in (b"!", b",")]
    return [(at, min(12, len(data) - at)) for at in marks[:64]]


# ---------------------------------------------------------------- damage


def damaged(chance: random.Random) -> bytes:
    """A good picture with one to four things done to it."""
    data = chance.choice(good_images())
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        damage: Damage = chance.choice(DAMAGES)
        data = damage(data, chance) or b"\0"
    if data.startswith(PNG_START) and chance.random() < 0.9:
        data = _with_checksums(data)
    return data


def _with_checksums(data: bytes) -> bytes:
    mended = bytearray(data)
    for at, length in pieces(data):
        if length >= 12:
            end = at + length - 4
            mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
    return bytes(mended)


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 32))):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _flip_early(data: bytes, chance: random.Random) -> bytes:
    """Headers are where a reader decides."""
    return _flip_bits(data[:64], chance) + data[64:]


def _put_number(data: bytes, chance: random.Random, at: int | None = None) -> bytes:
    at = chance.randrange(len(data)) if at is None else at
    size = chance.choice((1, 2, 2, 4, 4, 8))
    number = chance.choice(NUMBERS) % int(256**size)
    written = number.to_bytes(size, chance.choice(("little", "big")))
    return data[:at] + written + data[at + size :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(1, len(data) + 1)]


def _leave_out(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 4, 16, 256)) :]


def _put_in(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    more = chance.choice(
        (chance.randbytes(chance.choice((1, 4, 64, 4096))), bytes(64), b"\xff" * 64)
    )
    return data[:at] + more + data[at:]


def _join(data: bytes, chance: random.Random) -> bytes:
    return data + chance.choice(good_images())


def _splice(data: bytes, chance: random.Random) -> bytes:
    other = chance.choice(good_images())
    return data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]


def _change_field(data: bytes, chance: random.Random) -> bytes:
    """A number in the first bytes of a chunk: its length, type, sizes, counts, offsets."""
    if not (found := pieces(data)):
        return _flip_early(data, chance)
    at, length = chance.choice(found)
    return _put_number(data, chance, min(at + chance.randrange(max(1, min(length, 24))), len(data)))


def _drop_piece(data: bytes, chance: random.Random) -> bytes:
    if not (found := pieces(data)):
        return _leave_out(data, chance)
    at, length = chance.choice(found)
    return data[:at] + data[at + length :]


def _repeat_piece(data: bytes, chance: random.Random) -> bytes:
    if not (found := pieces(data)):
        return _put_in(data, chance)
    at, length = chance.choice(found)
    piece = data[at : at + min(length, 4096)]
    return data[:at] + piece * chance.choice((1, 2, 50)) + data[at:]


def _swap_pieces(data: bytes, chance: random.Random) -> bytes:
    if len(found := pieces(data)) < 2:
        return _put_number(data, chance)
    (one, its), (other, others) = sorted(chance.sample(found, 2))
    between = data[one + its : other]
    return (
        data[:one]
        + data[other : other + others]
        + between
        + data[one : one + its]
        + data[other + others :]
    )


def _borrow_piece(data: bytes, chance: random.Random) -> bytes:
    """A chunk of another file, most often of another type."""
    other = chance.choice(good_images())
    at, length = chance.choice(pieces(other))
    places = pieces(data) or [(chance.randrange(len(data)), 0)]
    here, _ = chance.choice(places)
    return data[:here] + other[at : at + length] + data[here:]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: tuple[Damage, ...] = (
    _flip_bits,
    _flip_early,
    _put_number,
    _cut,
    _leave_out,
    _put_in,
    _join,
    _splice,
    *[_change_field] * 6,
    _drop_piece,
    _repeat_piece,
    _swap_pieces,
    _borrow_piece,
)

"""Damages valid image files.

Half of the damages know the structure of the file (lengths, sizes, types of chunks, tags, whole
chunks left out or repeated), since blind changes seldom pass the first check of a reader. The
checksums of a PNG are corrected most of the time, for the same reason.
"""

import random
import struct
import zlib
from collections.abc import Callable

from fuzzing.file_pieces import pieces
from fuzzing.good_images import good_images
from testbed.image_writers import PNG_START

# Where programs that count are off by one.
NUMBERS: tuple[int, ...] = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF)
NUMBERS += (0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
NUMBERS += (7_000, 30_000, 2**40, 2**63)


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

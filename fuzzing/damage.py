"""Damage valid image files at random.

Half of the changes use the structure of the file: they change lengths, sizes, types and tags, and
remove, repeat or swap whole chunks. Random changes of bytes rarely pass the first check of a
decoder. For the same reason, most damaged PNG files get correct checksums.
"""

import random
import struct
import zlib
from collections.abc import Callable

from fuzzing.file_pieces import pieces
from fuzzing.valid_images import valid_images
from testbed.image_writers import PNG_START

# Boundary values.
NUMBERS: tuple[int, ...] = (0, 1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF)
NUMBERS += (0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
NUMBERS += (7_000, 30_000, 2**40, 2**63)


def damaged(rng: random.Random) -> bytes:
    """A valid image with one to four random changes."""
    data = rng.choice(valid_images())
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        damage: Damage = rng.choice(DAMAGES)
        data = damage(data, rng) or b"\0"
    if data.startswith(PNG_START) and rng.random() < 0.9:
        data = _with_checksums(data)
    return data


def _with_checksums(data: bytes) -> bytes:
    repaired = bytearray(data)
    for at, length in pieces(data):
        if length >= 12:
            end = at + length - 4
            repaired[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
    return bytes(repaired)


def _flip_bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 32))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _flip_early(data: bytes, rng: random.Random) -> bytes:
    """Flip bits in the first 64 bytes, where headers are."""
    return _flip_bits(data[:64], rng) + data[64:]


def _put_number(data: bytes, rng: random.Random, at: int | None = None) -> bytes:
    at = rng.randrange(len(data)) if at is None else at
    size = rng.choice((1, 2, 2, 4, 4, 8))
    number = rng.choice(NUMBERS) % int(256**size)
    written = number.to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + written + data[at + size :]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data) + 1)]


def _remove_bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 256)) :]


def _insert_bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    more = rng.choice((rng.randbytes(rng.choice((1, 4, 64, 4096))), bytes(64), b"\xff" * 64))
    return data[:at] + more + data[at:]


def _join(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice(valid_images())


def _splice(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(valid_images())
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _change_field(data: bytes, rng: random.Random) -> bytes:
    """Change a number at the start of a chunk: length, type, size, count or offset."""
    if not (found := pieces(data)):
        return _flip_early(data, rng)
    at, length = rng.choice(found)
    return _put_number(data, rng, min(at + rng.randrange(max(1, min(length, 24))), len(data)))


def _drop_piece(data: bytes, rng: random.Random) -> bytes:
    if not (found := pieces(data)):
        return _remove_bytes(data, rng)
    at, length = rng.choice(found)
    return data[:at] + data[at + length :]


def _repeat_piece(data: bytes, rng: random.Random) -> bytes:
    if not (found := pieces(data)):
        return _insert_bytes(data, rng)
    at, length = rng.choice(found)
    piece = data[at : at + min(length, 4096)]
    return data[:at] + piece * rng.choice((1, 2, 50)) + data[at:]


def _swap_pieces(data: bytes, rng: random.Random) -> bytes:
    if len(found := pieces(data)) < 2:
        return _put_number(data, rng)
    (first, first_length), (second, second_length) = sorted(rng.sample(found, 2))
    between = data[first + first_length : second]
    return (
        data[:first]
        + data[second : second + second_length]
        + between
        + data[first : first + first_length]
        + data[second + second_length :]
    )


def _borrow_piece(data: bytes, rng: random.Random) -> bytes:
    """Insert a chunk of another file, usually of another type."""
    other = rng.choice(valid_images())
    at, length = rng.choice(pieces(other))
    places = pieces(data) or [(rng.randrange(len(data)), 0)]
    here, _ = rng.choice(places)
    return data[:here] + other[at : at + length] + data[here:]


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: tuple[Damage, ...] = (
    _flip_bits,
    _flip_early,
    _put_number,
    _truncate,
    _remove_bytes,
    _insert_bytes,
    _join,
    _splice,
    *[_change_field] * 6,
    _drop_piece,
    _repeat_piece,
    _swap_pieces,
    _borrow_piece,
)

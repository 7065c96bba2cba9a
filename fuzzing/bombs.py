"""Pictures that are small to send and meant to be dear to read, and what they cost.

    python -m fuzzing.bombs

Each is read in a process of its own, with the service's default limits, and a row of a table is
printed: what came of it, milliseconds of CPU, and by how many megabytes the most memory ever
resident grew. Time is of the CPU, since a busy neighbour must not count.
"""

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image

from app.settings import ROOT, Settings
from testbed.heif_writer import Item, box, coded, grid, size_property, written
from testbed.image_writers import png, png_chunk, run_length_bmp, tiff
from testbed.markdown import table

LIMIT_BYTES = Settings().max_image_bytes
LIMIT_PIXELS = Settings().max_pixels
MOST_MILLISECONDS = 50
MOST_MEGABYTES = 50

_END = png_chunk(b"IEND", b"")
_MEASURE = """
import json, sys, time
from pathlib import Path
from app.errors import EmotionError
from app.vision.image import ImageFile

def peak():
    # Not of getrusage, which goes on from the parent's.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

data = sys.stdin.buffer.read()
color, limit = json.loads(sys.argv[1])
for kind in json.loads(sys.argv[2]):  # what is loaded once is not the bomb's
    ImageFile(bytes.fromhex(kind), max_pixels=limit).read(color=True)
before, start = peak(), time.process_time()
try:
    raster = ImageFile(data, max_pixels=limit).read(color=color)
    came = "{}x{} read".format(*raster.size_wh)
except EmotionError as error:
    came = type(error).__name__
spent = time.process_time() - start
print(json.dumps([came, 1000 * spent, max(0.0, peak() - before)]))
"""


@dataclass(frozen=True)
class Cost:
    came: str
    milliseconds: float  # of CPU
    megabytes: float  # by which the peak of resident memory grew


def cost(data: bytes, *, color: bool = True, pixels: int = LIMIT_PIXELS) -> Cost:
    """What reading a picture costs a fresh process that has read pictures before."""
    small = [_file(Image.new("RGB", (8, 8)), kind).hex() for kind in ("JPEG", "PNG", "TIFF", "GIF")]
    command = [sys.executable, "-c", _MEASURE, json.dumps([color, pixels]), json.dumps(small)]
    done = subprocess.run(command, input=data, capture_output=True, check=True, cwd=ROOT)
    return Cost(*json.loads(done.stdout))


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@cache
def _zeros(count: int) -> bytes:
    """So many of them, deflated."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(count // 100)) for _ in range(100)) + packer.flush()


def _fill(head: bytes, piece: bytes, tail: bytes = b"") -> bytes:
    """As many pieces as a picture may have bytes."""
    return head + piece * ((LIMIT_BYTES - len(head) - len(tail)) // len(piece)) + tail


# ---------------------------------------------------------------- more pixels than allowed


def png_30000() -> bytes:
    """900 megapixels, whole and right, in half a megabyte."""
    rows = png_chunk(b"IDAT", _zeros(30_000 * 3_751))
    return png(30_000, 30_000, rows + _END, bits=1, color=0)


def gif_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + _gif_frame(1, 1)


def gif_frame_beyond_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + _gif_frame(65535, 65535)


def _gif_frame(width: int, height: int) -> bytes:
    """With pixels for 1x1."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def webp_canvas() -> bytes:
    """An animation that says that its canvas has 16384x16384 pixels, the most there can be."""
    frames = (Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue"))
    data = bytearray(_file(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    data[24:30] = (16383).to_bytes(3, "little") * 2
    return bytes(data)


def webp_plain() -> bytes:
    """Lossless, which has the size in the 28 bits behind a mark."""
    data = bytearray(_file(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    data[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")
    return bytes(data)


def webp_frames() -> bytes:
    """As many frames of a pixel as fit."""
    frames = (Image.new("RGB", (1, 1), "red"), Image.new("RGB", (1, 1), "blue"))
    data = _file(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    frame = data[data.rindex(b"ANMF") :]
    made = bytearray(_fill(data, frame))
    made[4:8] = struct.pack("<I", len(made) - 8)
    return bytes(made)


def jpeg_65500() -> bytes:
    data = bytearray(_file(Image.new("L", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def bmp_huge() -> bytes:
    return run_length_bmp(b"", 2**31 - 1, 2**31 - 1)


def tiff_huge() -> bytes:
    return _tiff(30_000, 30_000, (273, 4, 1, 8), (279, 4, 1, 8))


# ---------------------------------------------------------------- several pictures in one


def _frames(count: int, side: int = 64) -> list[Image.Image]:
    values = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    return [Image.fromarray(value) for value in values]


def _animation(kind: str, count: int = 1000, **options: Any) -> bytes:
    first, *others = _frames(count)
    return _file(first, kind, save_all=True, append_images=others, **options)


# ---------------------------------------------------------------- TIFF


def _tiff(width: int, height: int, *entries: tuple[int, int, int, int], data: bytes = b"") -> bytes:
    """Grey, 8 bits; `entries` say where its pixels are."""
    usual = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
    }
    usual |= {tag: (kind, count, value) for tag, kind, count, value in entries}
    return tiff([(tag, *rest) for tag, rest in usual.items()], data or bytes(8))


def tiff_huge_tile(compression: int) -> bytes:
    """100x100 pixels in a tile that says 30,000x30,000, and holds them in 4 MB."""
    pixels = _zeros(900_000_000)
    where = ((322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 8), (325, 4, 1, len(pixels)))
    return _tiff(100, 100, (259, 3, 1, compression), *where, data=pixels)


def tiff_huge_strip() -> bytes:
    """The same in a strip of 9,000,000 rows."""
    pixels = _zeros(900_000_000)
    where = ((278, 4, 1, 9_000_000), (273, 4, 1, 8), (279, 4, 1, len(pixels)))
    return _tiff(100, 100, (259, 3, 1, 8), *where, data=pixels)


def tiff_strips(count: int, compression: int, *, there: bool) -> bytes:
    """So many strips, a row each, whether their places are in the file or not."""
    data = struct.pack("<I", 8) * count if there else bytes(8)
    where = ((278, 4, 1, 1), (273, 4, count, 8), (279, 4, count, 8))
    return _tiff(100, 100, (259, 3, 1, compression), *where, data=data)


def tiff_overlapping_tags() -> bytes:
    """Thousands of tags, each of which says that its value is most of the file."""
    data = bytes(LIMIT_BYTES - 200_000)
    tags = [(tag, 1, len(data), 8) for tag in range(1000, 13_000)]
    return _tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=data)


def tiff_many_tags() -> bytes:
    tags = [(tag, 4, 1, 8) for tag in range(1000, 65_000)]
    return _tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=bytes(10_000))


def tiff_pages() -> bytes:
    """Directories of one tag each, one behind the other."""
    first = _tiff(8, 8, (273, 4, 1, 8), (279, 4, 1, 64), data=bytes(64))
    page = struct.pack("<HHHII", 1, 256, 4, 1, 8)
    count = (LIMIT_BYTES - len(first)) // 18
    links = (struct.pack("<I", len(first) + 18 * (number + 1)) for number in range(count))
    return first[:-4] + struct.pack("<I", len(first)) + b"".join(page + link for link in links)


def tiff_exif_numbers() -> bytes:
    """An orientation, and an EXIF directory of three million numbers."""
    numbers = struct.pack("<HHHIII", 1, 37396, 4, 3_500_000, 8, 0)
    data = bytes(14_000_000) + numbers
    where = ((273, 4, 1, 8), (279, 4, 1, 10_000), (274, 3, 1, 6), (34665, 4, 1, 14_000_008))
    return _tiff(100, 100, *where, data=data)


def tiff_fax() -> bytes:
    """A fax of millions of rows, each of them wrong and each remarked upon."""
    where = ((273, 4, 1, 8), (279, 4, 1, 1_000_000), (278, 4, 1, 50_000_000))
    data = bytes(range(1, 256)) * 4000
    return _tiff(1, 50_000_000, (258, 3, 1, 1), (259, 3, 1, 4), *where, data=data)


# ---------------------------------------------------------------- long work in a small file


def jpeg_scans(count: int, side: int = 7000) -> bytes:
    """A progressive JPEG that goes over all its pixels again and again: a scan that changes nothing
    costs few bytes."""
    data = bytearray(_file(Image.new("L", (64, 64)), "JPEG", progressive=True))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    scan = data.rindex(b"\xff\xda")
    return bytes(data[:scan]) + bytes(data[scan:-2]) * count + b"\xff\xd9"


def jpeg_comments() -> bytes:
    good = _file(Image.new("L", (64, 64)), "JPEG")
    return _fill(good[:2], b"\xff\xfe\0\x02", good[2:])


def jpeg_junk() -> bytes:
    good = _file(Image.new("L", (64, 64)), "JPEG")
    return _fill(good[:2] + b"\xff\xfe\0\2", b"\0", good[2:])


def jpeg_exif() -> bytes:
    """EXIF of 15 MB in segments of 64 kB, whose tags are half of it each."""
    good = _file(Image.new("L", (64, 64)), "JPEG")
    size = LIMIT_BYTES - 200_000
    tags = [(tag, 1, size // 2, 8) for tag in range(1000, 6000)]
    block = tiff(tags, bytes(size - 65_000))
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = (
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    )
    return good[:2] + b"".join(segments) + good[2:]


def jpeg_exif_numbers() -> bytes:
    """EXIF that is an orientation and one tag of three million numbers."""
    good = _file(Image.new("L", (64, 64)), "JPEG")
    size = LIMIT_BYTES - 400_000
    block = tiff([(0x0112, 3, 1, 6), (0x9C9B, 4, size // 4, 8)], bytes(size))
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = (
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    )
    return good[:2] + b"".join(segments) + good[2:]


def png_chunks() -> bytes:
    good = _file(Image.new("L", (64, 64)), "PNG")
    return _fill(good[:33], png_chunk(b"prVt", b""), good[33:])


def png_pixel_chunks() -> bytes:
    """Pixels in chunks of no byte."""
    good = _file(Image.new("L", (64, 64)), "PNG")
    return _fill(good[:33], png_chunk(b"IDAT", b""), good[33:])


def png_text(character: str = "a") -> bytes:
    """Compressed texts of a megabyte each, in letters that take four bytes of memory."""
    good = _file(Image.new("L", (64, 64)), "PNG")
    text = (character + "a" * 1_000_000).encode()
    chunks = b"".join(
        png_chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + zlib.compress(text)) for number in range(60)
    )
    return good[:33] + chunks + good[33:]


def png_profile() -> bytes:
    good = _file(Image.new("L", (64, 64)), "PNG")
    return good[:33] + png_chunk(b"iCCP", b"p\0\0" + _zeros(900_000_000)) + good[33:]


def gif_junk() -> bytes:
    return _fill(b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0), b"\0", _gif_frame(1, 1))


def gif_comments() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    return _fill(head + b"!\xfe", b"\x01a", b"\0" + _gif_frame(1, 1))


def gif_extensions() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    return _fill(head, b"!\x01\x00", _gif_frame(1, 1))


def bmp_runs() -> bytes:
    """A run for each pixel."""
    head = run_length_bmp(b"", 7000, 7000)
    return _fill(head, b"\x01\x07")


# ---------------------------------------------------------------- HEIC and AVIF


def _sized(item: Item, width: int, height: int) -> Item:
    rest = tuple(it for it in item.properties if it[0] != b"ispe")
    return replace(item, properties=(size_property(width, height), *rest))


def heif_header(kind: str) -> bytes:
    return written(kind, [_sized(coded(Image.new("RGB", (64, 64)), kind), 30_000, 30_000)])


def heif_stream(kind: str) -> bytes:
    """A stream of 4000x4000 pixels in an image of 8x8 pixels."""
    return written(kind, [_sized(coded(Image.new("RGB", (4000, 4000)), kind), 8, 8)])


def heif_tiles(kind: str, count: int, tile: int, side: int, items: int = 1) -> bytes:
    """A grid of `count` by `count` tiles from `items` items, of which `side` pixels are shown."""
    item = coded(Image.new("RGB", (tile, tile), "teal"), kind)
    rows = Item(
        b"grid",
        grid(count, count, side, side),
        (size_property(side, side), *(it for it in item.properties if it[0] == b"pixi")),
        {b"dimg": [2 + number % items for number in range(count * count)]},
    )
    return written(kind, [rows, *[item] * items])


def heif_pictures(kind: str) -> bytes:
    """A stream that holds the image again and again."""
    item = coded(Image.new("RGB", (1024, 1024)), kind)
    return written(kind, [replace(item, data=item.data * (1_000_000 // len(item.data)))])


def heif_metadata(kind: str) -> bytes:
    """EXIF of 14 MB to which 200 images refer."""
    image = coded(Image.new("RGB", (64, 64)), kind)
    exif = Item(b"Exif", bytes(14_000_000), (), {b"cdsc": list(range(1, 201))})
    return written(kind, [*[image] * 200, exif])


def heif_boxes(kind: str) -> bytes:
    return _fill(written(kind, [coded(Image.new("RGB", (64, 64)), kind)]), box(b"free"))


def _heif_bombs() -> dict[str, Callable[[], bytes]]:
    makers: dict[str, Callable[[str], bytes]] = {
        "30000x30000": heif_header,
        "stream of 4000x4000": heif_stream,
        "9,216 tiles of 512x512": partial(heif_tiles, count=96, tile=512, side=64),
        "many pictures in a stream": heif_pictures,
        "EXIF of 14 MB for 200 images": heif_metadata,
        "1,800,000 boxes": heif_boxes,
    }
    kinds = {"HEIC": "HEIF", "AVIF": "AVIF"}
    return {
        f"{name}, {what}": partial(make, kind)
        for name, kind in kinds.items()
        for what, make in makers.items()
    }


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG 30000x30000": png_30000,
    "JPEG 65500x65500": jpeg_65500,
    "GIF 65535x65535": gif_canvas,
    "GIF frame 65535x65535": gif_frame_beyond_canvas,
    "WebP 16383x16383": webp_plain,
    "WebP animation 16384x16384": webp_canvas,
    "BMP 2147483647x2147483647": bmp_huge,
    "TIFF 30000x30000": tiff_huge,
    "TIFF tile 30000x30000, deflate": lambda: tiff_huge_tile(8),
    "TIFF tile 30000x30000, plain": lambda: tiff_huge_tile(1),
    "TIFF strip of 9,000,000 rows": tiff_huge_strip,
    "TIFF 2,000,000,000 strips": lambda: tiff_strips(2_000_000_000, 1, there=False),
    "TIFF 3,500,000 strips, plain": lambda: tiff_strips(3_500_000, 1, there=True),
    "TIFF 3,500,000 strips, deflate": lambda: tiff_strips(3_500_000, 8, there=True),
    "TIFF 12,000 tags, each 15 MB": tiff_overlapping_tags,
    "TIFF 64,000 tags": tiff_many_tags,
    "TIFF, 830,000 directories": tiff_pages,
    "TIFF, EXIF of 3,500,000 numbers": tiff_exif_numbers,
    "TIFF fax, 50,000,000 rows": tiff_fax,
    "APNG, 1,000 frames": lambda: _animation("PNG"),
    "GIF, 1,000 frames": lambda: _animation("GIF"),
    "WebP, 1,000 frames": lambda: _animation("WEBP", method=0),
    "WebP, 150,000 frames": webp_frames,
    "TIFF, 1,000 pages": lambda: _animation("TIFF"),
    "MPO, 1,000 pictures": lambda: _animation("MPO"),
    "JPEG, 5,000 scans": lambda: jpeg_scans(5000),
    "JPEG, 3,700,000 comments": jpeg_comments,
    "JPEG, 15 MB of zeros": jpeg_junk,
    "JPEG, EXIF of 5,000 tags, each 7 MB": jpeg_exif,
    "JPEG, EXIF of 3,600,000 numbers": jpeg_exif_numbers,
    "PNG, 1,200,000 chunks": png_chunks,
    "PNG, 1,200,000 empty pixel chunks": png_pixel_chunks,
    "PNG, 60 MB of text": png_text,
    "PNG, 60 MB of text in emoji": lambda: png_text("\N{GRINNING FACE}"),
    "PNG, 900 MB of colour profile": png_profile,
    "GIF, 15 MB of zeros": gif_junk,
    "GIF, 7,500,000 pieces of comment": gif_comments,
    "GIF, 5,000,000 extensions": gif_extensions,
    "BMP, 7,500,000 runs": bmp_runs,
    **_heif_bombs(),
}

# The most pixels that are allowed: no bombs, and what one of them costs.
SIDE = 7000
LARGEST: dict[str, Callable[[], bytes]] = {
    "JPEG, colours": lambda: _plain("RGB", "JPEG"),
    "JPEG, colours, progressive": lambda: _plain("RGB", "JPEG", progressive=True),
    "JPEG, grey, 50 scans": lambda: jpeg_scans(40),
    "PNG, colours": lambda: _plain("RGB", "PNG"),
    "PNG, colours and transparency": lambda: _plain("RGBA", "PNG"),
    "PNG, grey, 16 bit": lambda: _plain("I;16", "PNG"),
    "WebP, colours": lambda: _plain("RGB", "WEBP", method=0),
    "GIF": lambda: _plain("P", "GIF"),
    "BMP, run lengths": lambda: run_length_bmp(b"\0\2\xff\xff" * 28, SIDE, SIDE),
    "HEIC, tiles": partial(heif_tiles, "HEIF", count=14, tile=500, side=SIDE),
    "AVIF, tiles": partial(heif_tiles, "AVIF", count=14, tile=500, side=SIDE, items=196),
    "TIFF, colours, deflate": lambda: _plain("RGB", "TIFF", compression="tiff_adobe_deflate"),
}


def _plain(mode: str, kind: str, **options: Any) -> bytes:
    return _file(Image.new(mode, (SIDE, SIDE)), kind, **options)


def rows(pictures: dict[str, Callable[[], bytes]]) -> Iterator[list[str]]:
    for name, make in pictures.items():
        data = make()
        its = cost(data)
        yield [name, f"{len(data):,}", its.came, f"{its.milliseconds:.1f}", f"{its.megabytes:.1f}"]


def main() -> None:
    head = ["picture", "bytes", "what came of it", "ms of CPU", "MB"]
    print(table(head, list(rows(BOMBS))), table(head, list(rows(LARGEST))), sep="\n\n")


if __name__ == "__main__":
    main()

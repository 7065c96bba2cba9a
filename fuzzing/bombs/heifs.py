"""HEIC and AVIF files with excessive sizes and counts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PIL import Image

from fuzzing.bombs.files import (
    filled,
)
from testbed.heif_writer import Item, box, coded_item, grid, heif_file, size_property


def _sized(item: Item, width: int, height: int) -> Item:
    rest = tuple(each for each in item.properties if each[0] != b"ispe")
    return replace(item, properties=(size_property(width, height), *rest))


def heif_header(kind: str) -> bytes:
    return heif_file(kind, [_sized(coded_item(Image.new("RGB", (64, 64)), kind), 30_000, 30_000)])


def heif_stream(kind: str) -> bytes:
    """A stream of 4000x4000 pixels in an image of 8x8 pixels."""
    return heif_file(kind, [_sized(coded_item(Image.new("RGB", (4000, 4000)), kind), 8, 8)])


def heif_tiles(kind: str, count: int, tile: int, side: int, items: int = 1) -> bytes:
    """A grid of `count` by `count` tiles from `items` items, cropped to `side` pixels."""
    item = coded_item(Image.new("RGB", (tile, tile), "teal"), kind)
    rows = Item(
        b"grid",
        grid(count, count, side, side),
        (size_property(side, side), *(each for each in item.properties if each[0] == b"pixi")),
        {b"dimg": [2 + number % items for number in range(count * count)]},
    )
    return heif_file(kind, [rows, *[item] * items])


def heif_repeated_stream(kind: str) -> bytes:
    """A stream with many copies of the image."""
    item = coded_item(Image.new("RGB", (1024, 1024)), kind)
    return heif_file(kind, [replace(item, data=item.data * (1_000_000 // len(item.data)))])


def heif_metadata(kind: str) -> bytes:
    """EXIF data of 14 MB that 200 images refer to."""
    image = coded_item(Image.new("RGB", (64, 64)), kind)
    exif = Item(b"Exif", bytes(14_000_000), (), {b"cdsc": list(range(1, 201))})
    return heif_file(kind, [*[image] * 200, exif])


def heif_boxes(kind: str) -> bytes:
    return filled(heif_file(kind, [coded_item(Image.new("RGB", (64, 64)), kind)]), box(b"free"))


def heif_bombs() -> dict[str, Callable[[], bytes]]:
    """All bombs of this module by name."""
    makers: dict[str, Callable[[str], bytes]] = {
        "30000x30000": heif_header,
        "stream of 4000x4000": heif_stream,
        "9,216 tiles of 512x512": partial(heif_tiles, count=96, tile=512, side=64),
        "many images in a stream": heif_repeated_stream,
        "EXIF of 14 MB for 200 images": heif_metadata,
        "1,800,000 boxes": heif_boxes,
    }
    kinds = {"HEIC": "HEIF", "AVIF": "AVIF"}
    return {
        f"{name}, {bomb}": partial(make, kind)
        for name, kind in kinds.items()
        for bomb, make in makers.items()
    }

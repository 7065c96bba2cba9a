"""Writes valid and invalid HEIC and AVIF files that libraries cannot write."""

import io
import struct
from dataclasses import dataclass, field
from typing import Any

import pillow_heif
from PIL import Image

from app.vision.heif_items import HeifFile

Property = tuple[bytes, bytes]  # box type, content

CODINGS = {"HEIF": b"hvc1", "AVIF": b"av01"}
CONFIGURATIONS = {"HEIF": b"hvcC", "AVIF": b"av1C"}
BRANDS = {"HEIF": b"heic", "AVIF": b"avif"}
ALPHA = b"\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"


@dataclass(frozen=True)
class Item:
    """An item of a HEIF file. `references` has item numbers by reference type."""

    kind: bytes
    data: bytes
    properties: tuple[Property, ...] = ()
    references: dict[bytes, list[int]] = field(default_factory=dict)


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *content)


def size_property(width: int, height: int) -> Property:
    return b"ispe", struct.pack(">III", 0, width, height)


def clean_aperture(width: int, height: int, right: int = 0, down: int = 0) -> Property:
    """A crop to the centre of an image, moved by `right` and `down` pixels."""
    return b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, 1, down, 1)


def turn(quarters: int) -> Property:
    """A rotation by quarter turns, counter-clockwise."""
    return b"irot", bytes([quarters])


def mirror(axis: int) -> Property:
    """A reflection. Axis 0 swaps top and bottom, axis 1 left and right."""
    return b"imir", bytes([axis])


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    return bytes([0, 1, rows - 1, columns - 1]) + struct.pack(">II", width, height)


def heif_file(
    kind: str, items: list[Item], *, primary: int = 1, brands: tuple[bytes, ...] = ()
) -> bytes:
    """A file with these items, numbered from 1."""
    properties = list(dict.fromkeys(each for item in items for each in item.properties))
    body = b"".join(item.data for item in items)

    def meta(start: int) -> bytes:
        locations = associations = entries = references = b""
        at = start
        for number, item in enumerate(items, start=1):
            entry = struct.pack(">HH4sB", number, 0, item.kind, 0)
            if item.kind == b"mime":
                entry += b"application/rdf+xml\0"
            entries += full_box(b"infe", entry, version=2)
            locations += struct.pack(">HHHII", number, 0, 1, at, len(item.data))
            at += len(item.data)
            indices = bytes(
                properties.index(each) + 1 | (128 if each[0] in (b"irot", b"imir", b"clap") else 0)
                for each in item.properties
            )
            associations += struct.pack(">HB", number, len(indices)) + indices
            for name, targets in item.references.items():
                references += box(
                    name, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets)
                )
        return full_box(
            b"meta",
            full_box(b"hdlr", struct.pack(">I4s12xB", 0, b"pict", 0)),
            full_box(b"pitm", struct.pack(">H", primary)),
            full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)), locations),
            full_box(b"iinf", struct.pack(">H", len(items)), entries),
            full_box(b"iref", references) if references else b"",
            box(
                b"iprp",
                box(b"ipco", *(box(*each) for each in properties)),
                full_box(b"ipma", struct.pack(">I", len(items)), associations),
            ),
        )

    all_brands = brands or (BRANDS[kind], b"mif1", BRANDS[kind])
    head = box(b"ftyp", all_brands[0], bytes(4), *all_brands[1:])
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", body)


def coded_item(image: Image.Image, kind: str, **options: Any) -> Item:
    """An item with the coded stream and the properties of an image, as a library writes them."""
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, quality=90, **options)
    else:
        image.copy().save(buffer, "AVIF", quality=90, **options)
    data = buffer.getvalue()
    file = HeifFile(data, kind)
    item = file.items[file.primary]
    properties = tuple(each for each in item.properties if each[0] not in (b"irot", b"imir"))
    return Item(item.kind, file.bytes_of(item, len(data)), properties)

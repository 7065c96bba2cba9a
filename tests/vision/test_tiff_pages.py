"""The first page in full resolution is read from a TIFF whose first page is a thumbnail."""

import struct

import pytest

from app.vision.image import ImageFile

REDUCED = (254, 4, 1, 1)
FULL = (254, 4, 1, 0)
SMALL, LARGE = (8, 8, 10), (16, 16, 200)  # width, height, grey


def tiff(*pages, order="<", sub_images=(), big=False):
    """A TIFF of grey pages, each (width, height, grey) followed by further entries. `sub_images`
    are pages that the first page lists in its tag SubIFDs."""
    short, number = order + "H", order + ("Q" if big else "I")
    wide, kind = (order + "Q", 16) if big else (short, 4)
    inline = struct.calcsize(number)
    data = b"II" if order == "<" else b"MM"
    data += (
        struct.pack(short, 43) + struct.pack(order + "HH", 8, 0) if big else struct.pack(short, 42)
    )
    first = len(data)
    data += bytes(inline)
    links, page_starts, at_first_sub = [first], [], None
    for index, ((width, height, grey), *extra) in enumerate([*pages, *sub_images]):
        pixels = len(data)
        data += bytes([grey]) * (width * height)
        entries = [
            (256, kind, 1, width), (257, kind, 1, height), (258, 3, 1, 8), (259, 3, 1, 1),
            (262, 3, 1, 1), (273, kind, 1, pixels), (277, 3, 1, 1), (278, kind, 1, height),
            (279, kind, 1, width * height), *extra,
        ]  # fmt: skip
        if index == 0 and sub_images:
            entries.append((330, kind, len(sub_images), 0))
        start = len(data)
        page_starts.append(start)
        data += struct.pack(wide, len(entries))
        for tag, field_type, count, value in sorted(entries):
            if tag == 330:
                at_first_sub = len(data) + 4 + inline
            size = {3: short, 4: order + "I", 16: order + "Q"}[field_type]
            field = struct.pack(size, value).ljust(inline, b"\0")
            data += struct.pack(order + "HH", tag, field_type) + struct.pack(number, count) + field
        if index < len(pages):
            links.append(len(data))
        data += bytes(inline)
    blob = bytearray(data)
    for link, start in zip(links, page_starts[: len(pages)], strict=False):
        struct.pack_into(number, blob, link, start)
    subs = page_starts[len(pages) :]
    if len(subs) == 1:
        struct.pack_into(number, blob, at_first_sub, subs[0])
    elif subs:
        struct.pack_into(number, blob, at_first_sub, len(blob))
        blob += struct.pack(f"{order}{len(subs)}{number[1]}", *subs)
    return bytes(blob)


def size_and_grey(data):
    raster = ImageFile(data, max_pixels=1_000).read()
    return raster.size_wh, int(raster.gray[0, 0])


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize(
    "pages",
    [
        [(SMALL, REDUCED), (LARGE, FULL)],
        [(SMALL, REDUCED), (LARGE,)],
        [(SMALL, REDUCED), (SMALL, REDUCED), (LARGE, FULL), (SMALL, FULL)],
        [(SMALL, (255, 3, 1, 2)), (LARGE, (255, 3, 1, 1))],
        [(LARGE, FULL), (SMALL, REDUCED)],
        [(LARGE, (254, 4, 1, 2)), (SMALL,)],  # a page of a multi-page document
        [(LARGE, REDUCED)],  # there is no other page
    ],
)
def test_first_page_in_full_resolution_is_read(pages, order, big):
    assert size_and_grey(tiff(*pages, order=order, big=big)) == ((16, 16), 200)


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize(
    "sub_images", [[(LARGE, FULL)], [(SMALL, REDUCED), (LARGE, FULL)], [(LARGE,), (SMALL,)]]
)
def test_sub_image_in_full_resolution_is_read(sub_images, order, big):
    data = tiff((SMALL, REDUCED), order=order, big=big, sub_images=sub_images)
    assert size_and_grey(data) == ((16, 16), 200)


def test_sub_images_of_a_page_in_full_resolution_are_not_read():
    assert size_and_grey(tiff((LARGE, FULL), sub_images=[(SMALL, FULL)])) == ((16, 16), 200)


def test_circular_chain_of_pages_is_read_once():
    data = bytearray(tiff((LARGE, REDUCED), (SMALL, REDUCED)))
    last = data.rindex(bytes(4))
    data[last : last + 4] = data[4:8]
    assert size_and_grey(bytes(data)) == ((16, 16), 200)

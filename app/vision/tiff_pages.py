"""Selects the page of a TIFF that is read.

Some programs write a thumbnail as the first page. In this case, the service reads the
first later page in full resolution. If there is none, it reads the first sub-image in full
resolution.
"""

from app.vision.structure import Order, tiff_entries

_MAX_PAGES = 100
_MAX_TAGS = 1_000  # maximum number of tags per page
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _SUB_IMAGES = 254, 255, 330
_REDUCED_BIT, _OLD_REDUCED = 1, 2


def full_resolution_first(data: bytes) -> bytes:
    """Return a TIFF that starts with the first page in full resolution. Returns `data` unchanged if
    the first page is not a thumbnail or there is no other page. Raises ValueError for a page with
    too many tags."""
    order: Order = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    offset_field = slice(8, 16) if big else slice(4, 8)
    at, seen, sub_images = int.from_bytes(data[offset_field], order), set[int](), list[int]()
    while at and at not in seen and len(seen) < _MAX_PAGES:
        seen.add(at)
        entries = tiff_entries(data, at, order, big=big, max_entries=_MAX_TAGS)
        if not entries:
            break
        if not _is_reduced(entries):
            return _starting_at(data, at, offset_field, order) if len(seen) > 1 else data
        sub_images += _sub_images(data, entries, order)
        at = _next_page(data, at, order, big=big)
    for at in sub_images[:_MAX_PAGES]:
        entries = tiff_entries(data, at, order, big=big, max_entries=_MAX_TAGS)
        if entries and not _is_reduced(entries):
            return _starting_at(data, at, offset_field, order)
    return data


def _is_reduced(entries: list[tuple[int, int, int, int]]) -> bool:
    kinds = {tag: value for tag, _, _, value in entries}
    if _SUBFILE_TYPE in kinds:
        return bool(kinds[_SUBFILE_TYPE] & _REDUCED_BIT)
    return kinds.get(_OLD_SUBFILE_TYPE) == _OLD_REDUCED


def _sub_images(data: bytes, entries: list[tuple[int, int, int, int]], order: Order) -> list[int]:
    """Return the offsets in the tag SubIFDs."""
    for tag, kind, count, value in entries:
        if tag == _SUB_IMAGES and count == 1:
            return [value]
        if tag == _SUB_IMAGES:
            size = 8 if kind in (16, 18) else 4
            ends = range(value + size, value + size * min(count, _MAX_PAGES) + 1, size)
            return [int.from_bytes(data[end - size : end], order) for end in ends]
    return []


def _next_page(data: bytes, at: int, order: Order, *, big: bool) -> int:
    wide, each, offset = (8, 20, 8) if big else (2, 12, 4)
    end = at + wide + each * int.from_bytes(data[at : at + wide], order)
    return int.from_bytes(data[end : end + offset], order)


def _starting_at(data: bytes, at: int, offset_field: slice, order: Order) -> bytes:
    first = at.to_bytes(offset_field.stop - offset_field.start, order)
    return data[: offset_field.start] + first + data[offset_field.stop :]

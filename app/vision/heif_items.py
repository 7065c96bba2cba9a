"""Reads the items of a HEIC or AVIF file and their references from the boxes (ISO/IEC 23008-12)."""

from dataclasses import dataclass, field

from app.errors import UnsupportedImageType
from app.vision.iso_boxes import Numbers, boxes

MAX_ITEMS = 1_000  # maximum number of items in a file, as in libheif
MAX_REFERENCES = 10_000  # maximum number of references, properties or extents in a file

_META_BOXES = {b"hdlr", b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat"}


@dataclass(slots=True)
class Item:
    """An image or metadata in the file, with the location and the properties."""

    kind: bytes = b""
    extents: list[tuple[int, int, int]] = field(default_factory=list)  # method, offset, length
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)

    def body_of(self, kind: bytes) -> bytes:
        """Return the content of the property of this type; empty if there is none."""
        bodies = {body for name, body in self.properties if name == kind}
        if len(bodies) > 1:  # decoders disagree about which property they use
            raise ValueError("an image in the file has two properties of the same type")
        return next(iter(bodies), b"")

    @property
    def size_wh(self) -> tuple[int, int]:
        """The size in pixels. Raises ValueError if the item has no size."""
        body = self.body_of(b"ispe")
        if len(body) < 12:
            raise ValueError("an image in the file has no size")
        return int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")


class HeifFile:
    """The items of a file and their references: (type, source, targets).

    `kind` is "HEIF" or "AVIF". Raises UnsupportedImageType for a file without a still image, and
    ValueError for a damaged file.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        self._data, self._kind = data, kind
        self.items: dict[int, Item] = {}
        self.references: list[tuple[bytes, int, list[int]]] = []
        self.primary = 0
        self._idat = b""
        metas = [body for name, body in boxes(memoryview(data)) if name == b"meta"]
        if not metas:
            raise UnsupportedImageType(
                f"the {kind} file has no still image: image sequences and videos are not supported"
            )
        if len(metas) > 1:
            raise ValueError("the file has two meta boxes")
        self._read_meta(bytes(metas[0][4:]))

    def item(self, number: int) -> Item:
        """Return an item. Raises ValueError if it is missing."""
        if (item := self.items.get(number)) is None:
            raise ValueError("an item is missing")
        return item

    def bytes_of(self, item: Item, limit: int) -> bytes:
        """Return the first `limit` bytes of an item. Raises ValueError if the file is too short."""
        parts = []
        for method, offset, declared_length in item.extents:
            if method > 1:
                raise ValueError("an item is constructed from other items")
            source = self._idat if method == 1 else self._data
            length = declared_length or len(source) - offset  # 0 means up to the end
            if offset + length > len(source):
                raise ValueError("the data of the image is incomplete")
            parts.append(source[offset : offset + min(length, limit)])
            if (limit := limit - length) <= 0:
                break
        return b"".join(parts)

    def _read_meta(self, meta: bytes) -> None:
        known = [box for box in boxes(meta) if box[0] in _META_BOXES]
        bodies = dict(known)
        if len(bodies) < len(known):
            raise ValueError("the file has two boxes of the same type")
        if bodies.get(b"hdlr", b"")[8:12] != b"pict":
            raise UnsupportedImageType(f"the {self._kind} file contains no image")
        if b"pitm" not in bodies:
            raise UnsupportedImageType(
                f"the {self._kind} file has no primary image: image sequences are not supported"
            )
        self._idat = bodies.get(b"idat", b"")
        primary = bodies[b"pitm"]
        self.primary = int.from_bytes(primary[4:6] if primary[:1] == b"\0" else primary[4:8], "big")
        self._read_items(Numbers(bodies.get(b"iinf", b"")))
        self._read_locations(Numbers(bodies.get(b"iloc", b"")))
        self._read_properties(bodies.get(b"iprp", b""))
        self._read_references(bodies.get(b"iref", b""))

    def _read_items(self, numbers: Numbers) -> None:
        version, _ = numbers.take(1), numbers.take(3)
        count = numbers.take(2 if version == 0 else 4)
        if count > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS:,} items")
        for name, body in boxes(numbers.rest()):
            if name == b"infe" and len(body) >= 12 and body[0] in (2, 3):
                id_bytes = 2 if body[0] == 2 else 4
                number, at = int.from_bytes(body[4 : 4 + id_bytes], "big"), 4 + id_bytes + 2
                if number in self.items:
                    raise ValueError("two items have the same id")
                if len(self.items) == MAX_ITEMS:
                    raise ValueError(f"more than {MAX_ITEMS:,} items")
                self.items[number] = Item(body[at : at + 4])

    def _read_locations(self, numbers: Numbers) -> None:
        version, _ = numbers.take(1), numbers.take(3)
        sizes = numbers.take(2)
        offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        total_extents = 0
        for _ in range(numbers.take(2 if version < 2 else 4)):
            number = numbers.take(2 if version < 2 else 4)
            method = numbers.take(2) & 15 if version else 0
            numbers.take(2)
            start = numbers.take(base)
            extents = []
            for _ in range(numbers.take(2)):
                if version and index:
                    numbers.take(index)
                extents.append((method, start + numbers.take(offset), numbers.take(length)))
                total_extents += 1
                if total_extents > MAX_REFERENCES:
                    raise ValueError(f"the items have more than {MAX_REFERENCES:,} extents")
            if number in self.items:
                if self.items[number].extents:
                    raise ValueError("an item has two locations")
                self.items[number].extents = extents

    def _read_properties(self, body: bytes) -> None:
        inside = list(boxes(body))
        container = next((inner for name, inner in inside if name == b"ipco"), b"")
        properties = list(boxes(container))
        left = MAX_REFERENCES
        for name, inner in inside:
            if name != b"ipma":
                continue
            numbers = Numbers(inner)
            version, flags = numbers.take(1), numbers.take(3)
            for _ in range(numbers.take(4)):
                item = self.items.get(numbers.take(2 if version == 0 else 4))
                for _ in range(numbers.take(1)):
                    index = numbers.take(2) & 0x7FFF if flags & 1 else numbers.take(1) & 0x7F
                    if item is not None and 0 < index <= len(properties):
                        item.properties.append(properties[index - 1])
                    if (left := left - 1) < 0:
                        raise ValueError(f"more than {MAX_REFERENCES:,} properties")

    def _read_references(self, body: bytes) -> None:
        wide = 2 if body[:1] == b"\0" else 4
        left = MAX_REFERENCES
        for name, inner in boxes(body[4:]):
            numbers = Numbers(inner)
            source, count = numbers.take(wide), numbers.take(2)
            if (left := left - count) < 0:
                raise ValueError(f"more than {MAX_REFERENCES:,} references")
            self.references.append((name, source, [numbers.take(wide) for _ in range(count)]))

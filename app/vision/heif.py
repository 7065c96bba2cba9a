"""Checks the primary image of a HEIC or AVIF file (ISO/IEC 23008-12) without decoding it.

The decoders are C libraries that allocate as much memory as the headers of the file state.
This module follows the boxes to the primary image, rejects structures that no camera and no program
writes, and returns the image size that is compared with the limits. Other images in the file
(thumbnails, bursts, depth maps, gain maps, sequences) are ignored.
"""

from dataclasses import dataclass, field

from app.errors import ImageTooLarge, UnsupportedImageType
from app.vision.bitstream import StreamSize, av1_stream, hevc_configuration, hevc_item
from app.vision.iso_boxes import Numbers, boxes

MAX_ITEMS = 1_000  # maximum number of items in a file, as in libheif
MAX_REFERENCES = 10_000  # maximum number of references, properties or extents in a file
MAX_METADATA_BYTES = 2_000_000  # EXIF and XMP, counted once for each image that refers to it
MAX_CODED_PICTURES = 4  # maximum number of coded pictures per item; layered images have up to 4
MAX_SLICES = 32  # maximum number of slices per item
MARGIN = 64  # maximum difference between stream and image in pixels: one coding block
MAX_DECODED_RATIO = 5  # maximum decoded pixels per image pixel: four layers and transparency
MIN_PIXEL_BUDGET = 4_000_000  # pixels that may be decoded for an image of any size

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
AVIF_BRANDS = {b"avif", b"avis"}
_NEUTRAL_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}
_CODINGS = {"HEIF": {b"hvc1", b"hev1"}, "AVIF": {b"av01"}}
_META_BOXES = {b"hdlr", b"pitm", b"iinf", b"iloc", b"iprp", b"iref", b"idat"}
_ALPHA = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
)


def heif_type(data: bytes) -> str | None:
    """Return "HEIF" or "AVIF" for a file that starts with an ftyp box of a HEIF or AVIF brand.
    Returns None for other content, such as videos."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), 1_024)
    brands = [data[at : at + 4] for at in (8, *range(16, end - 3, 4))]
    if brands[0] not in HEIF_BRANDS | AVIF_BRANDS | _NEUTRAL_BRANDS:
        return None
    for brand in brands:  # the major brand comes first
        if brand in AVIF_BRANDS:
            return "AVIF"
        if brand in HEIF_BRANDS:
            return "HEIF"
    return "HEIF" if brands[0] in _NEUTRAL_BRANDS else None


@dataclass(frozen=True, slots=True)
class PrimaryImage:
    """The primary image of a file. `size_wh` is the size before rotation. `crop` is the clean
    aperture (left, top, right, bottom), the visible part, or None."""

    size_wh: tuple[int, int]
    crop: tuple[int, int, int, int] | None = None


@dataclass(slots=True)
class _Item:
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
        body = self.body_of(b"ispe")
        if len(body) < 12:
            raise ValueError("an image in the file has no size")
        return int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")


def read_primary_image(data: bytes, kind: str, max_pixels: int) -> PrimaryImage:
    """Check a HEIF or AVIF file and return the primary image, which is then safe to decode.

    Raises ImageTooLarge if a size in a box or in a stream exceeds a limit,
    UnsupportedImageType for files without a still image and for other codings, and ValueError for
    damaged files.
    """
    return HeifFile(data, kind, max_pixels).primary_image()


class HeifFile:
    """The items of a file and their references. Raises the errors of `read_primary_image`."""

    def __init__(self, data: bytes, kind: str, max_pixels: int) -> None:
        self._data, self._kind, self._max_pixels = data, kind, max_pixels
        self.items: dict[int, _Item] = {}
        self._references: list[tuple[bytes, int, list[int]]] = []
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

    # ------------------------------------------------------------ boxes

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
                self.items[number] = _Item(body[at : at + 4])

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
            self._references.append((name, source, [numbers.take(wide) for _ in range(count)]))

    # ------------------------------------------------------------ the primary image

    def primary_image(self) -> PrimaryImage:
        """Check the primary image and return it."""
        item = self.items.get(self.primary)
        if item is None:
            raise ValueError("the primary image is missing")
        width, height = item.size_wh
        if width * height > self._max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, more than the {self._max_pixels:,} "
                "allowed: send a smaller image"
            )
        self._check_metadata()
        decoded_items = [self.primary, *self._alpha_of({self.primary})]
        cost = sum(self._cost(number) for number in decoded_items)
        budget = max(MIN_PIXEL_BUDGET, MAX_DECODED_RATIO * width * height)
        if cost > budget:
            raise ImageTooLarge(
                f"decoding the image of {width}x{height} pixels needs {cost:,} decoded pixels, "
                f"but at most {budget:,} are allowed"
            )
        return PrimaryImage((width, height), _crop(item.body_of(b"clap"), width, height))

    def _cost(self, number: int) -> int:
        """Return the number of pixels that are decoded for an item, including tiles and the alpha
        channels of the tiles."""
        item = self._item(number)
        if item.kind != b"grid":
            return self._coded_cost(item)
        tiles = self._tiles(number, item)
        costs = {tile: self._coded_cost(self._item(tile)) for tile in set(tiles)}
        for tile in costs:
            for alpha in self._alpha_of({tile}):
                costs[tile] += self._coded_cost(self._item(alpha))
        return sum(costs[tile] for tile in tiles)

    def _tiles(self, number: int, item: _Item) -> list[int]:
        """Return the items of a grid, row by row. Raises ValueError if they do not match the
        declared size of the grid."""
        grid = self.bytes_of(item, 12)
        wide = 4 if grid[1:2] and grid[1] & 1 else 2
        if len(grid) < 4 + 2 * wide:
            raise ValueError("the grid is too short")
        width, height = (int.from_bytes(grid[at : at + wide], "big") for at in (4, 4 + wide))
        tiles = [
            tile
            for name, source, targets in self._references
            if name == b"dimg" and source == number
            for tile in targets
        ]
        if (width, height) != item.size_wh or len(tiles) != (grid[2] + 1) * (grid[3] + 1):
            raise ValueError("the grid does not match the tiles")
        return tiles

    def _coded_cost(self, item: _Item) -> int:
        if item.kind not in _CODINGS[self._kind]:
            name = item.kind.decode("ascii", "replace")
            supported = ", ".join(sorted(coding.decode() for coding in _CODINGS[self._kind]))
            raise UnsupportedImageType(
                f"the {self._kind} image has the coding {name!r}, which is not supported. "
                f"Supported codings: {supported}, and grids of them"
            )
        width, height = item.size_wh
        stream = self._stream(item)
        if stream.width > width + MARGIN or stream.height > height + MARGIN:
            raise ImageTooLarge(
                f"an image of {width}x{height} pixels has a stream of "
                f"{stream.width}x{stream.height} pixels"
            )
        if stream.coded_pictures > MAX_CODED_PICTURES or stream.slices > MAX_SLICES:
            raise ValueError(
                f"an image in the file has more than {MAX_CODED_PICTURES} coded pictures or "
                f"{MAX_SLICES} slices"
            )
        if not stream.coded_pictures or not stream.width:
            raise ValueError("an image in the file has no pixels")
        return width * height * stream.coded_pictures

    def _stream(self, item: _Item) -> StreamSize:
        data = self.bytes_of(item, len(self._data))
        if self._kind == "AVIF":
            # Decoders read the box av1C, without the first four bytes, before the item. The box may
            # contain the sequence header.
            return av1_stream(item.body_of(b"av1C")[4:] + data)
        size, length_bytes = hevc_configuration(item.body_of(b"hvcC"))
        return size + hevc_item(data, length_bytes)

    def _alpha_of(self, numbers: set[int]) -> list[int]:
        return [
            source
            for name, source, targets in self._references
            if name == b"auxl"
            and not numbers.isdisjoint(targets)
            and self._item(source).body_of(b"auxC")[4:].startswith(_ALPHA)
        ]

    def _check_metadata(self) -> None:
        size = sum(
            (length or len(self._data)) * len(targets)
            for name, source, targets in self._references
            if name == b"cdsc"
            for _, _, length in self._item(source).extents
        )
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"more than {MAX_METADATA_BYTES:,} bytes of EXIF and XMP")

    def _item(self, number: int) -> _Item:
        if (item := self.items.get(number)) is None:
            raise ValueError("an item is missing")
        return item

    def bytes_of(self, item: _Item, limit: int) -> bytes:
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


def _crop(clap: bytes, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Convert a box clap to (left, top, right, bottom) in pixels; None if there is no box."""
    if len(clap) < 32:
        return None
    values = [int.from_bytes(clap[at : at + 4], "big", signed=at >= 16) for at in range(0, 32, 4)]
    if 0 in values[1::2]:
        raise ValueError("the clean aperture is not valid")
    crop_w, crop_h, right, down = (values[at] / values[at + 1] for at in (0, 2, 4, 6))
    left = round((width - crop_w) / 2 + right)
    top = round((height - crop_h) / 2 + down)
    box = (left, top, left + round(crop_w), top + round(crop_h))
    if not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise ValueError("the clean aperture is not valid")
    return box

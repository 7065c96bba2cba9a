"""Checks the primary image of a HEIC or AVIF file (ISO/IEC 23008-12) without decoding it.

The decoders are C libraries that allocate as much memory as the headers of the file state.
This module follows the boxes to the primary image, rejects structures that no camera and no program
writes, and returns the image size that is compared with the limits. Other images in the file
(thumbnails, bursts, depth maps, gain maps, sequences) are ignored.
"""

from dataclasses import dataclass

from app.errors import ImageTooLarge, UnsupportedImageType
from app.vision.bitstream import StreamSize, av1_stream, hevc_configuration, hevc_item
from app.vision.heif_items import HeifFile, Item

MAX_METADATA_BYTES = 2_000_000  # EXIF and XMP, counted once for each image that refers to it
MAX_CODED_PICTURES = 4  # maximum number of coded pictures per item; layered images have up to 4
MAX_SLICES = 32  # maximum number of slices per item
MARGIN = 64  # maximum difference between stream and image in pixels: one coding block
MAX_DECODED_RATIO = 5  # maximum decoded pixels per image pixel: four layers and transparency
MIN_PIXEL_BUDGET = 4_000_000  # pixels that may be decoded for an image of any size

_CODINGS = {"HEIF": {b"hvc1", b"hev1"}, "AVIF": {b"av01"}}
_ALPHA = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
)


@dataclass(frozen=True, slots=True)
class PrimaryImage:
    """The primary image of a file. `size_wh` is the size before rotation. `crop` is the clean
    aperture (left, top, right, bottom), the visible part, or None."""

    size_wh: tuple[int, int]
    crop: tuple[int, int, int, int] | None = None


def read_primary_image(data: bytes, kind: str, max_pixels: int) -> PrimaryImage:
    """Check a HEIF or AVIF file and return the primary image, which is then safe to decode.

    Raises ImageTooLarge if a size in a box or in a stream exceeds a limit,
    UnsupportedImageType for files without a still image and for other codings, and ValueError for
    damaged files.
    """
    return _PrimaryImageCheck(data, kind, max_pixels).primary_image()


class _PrimaryImageCheck:
    """Checks the primary image of a file. Raises the errors of `read_primary_image`."""

    def __init__(self, data: bytes, kind: str, max_pixels: int) -> None:
        self._data, self._kind, self._max_pixels = data, kind, max_pixels
        self._file = HeifFile(data, kind)

    def primary_image(self) -> PrimaryImage:
        """Check the primary image and return it."""
        item = self._file.items.get(self._file.primary)
        if item is None:
            raise ValueError("the primary image is missing")
        width, height = item.size_wh
        if width * height > self._max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, more than the {self._max_pixels:,} "
                "allowed: send a smaller image"
            )
        self._check_metadata()
        decoded_items = [self._file.primary, *self._alpha_of({self._file.primary})]
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
        item = self._file.item(number)
        if item.kind != b"grid":
            return self._coded_cost(item)
        tiles = self._tiles(number, item)
        costs = {tile: self._coded_cost(self._file.item(tile)) for tile in set(tiles)}
        for tile in costs:
            for alpha in self._alpha_of({tile}):
                costs[tile] += self._coded_cost(self._file.item(alpha))
        return sum(costs[tile] for tile in tiles)

    def _tiles(self, number: int, item: Item) -> list[int]:
        """Return the items of a grid, row by row. Raises ValueError if they do not match the
        declared size of the grid."""
        grid = self._file.bytes_of(item, 12)
        wide = 4 if grid[1:2] and grid[1] & 1 else 2
        if len(grid) < 4 + 2 * wide:
            raise ValueError("the grid is too short")
        width, height = (int.from_bytes(grid[at : at + wide], "big") for at in (4, 4 + wide))
        tiles = [
            tile
            for name, source, targets in self._file.references
            if name == b"dimg" and source == number
            for tile in targets
        ]
        if (width, height) != item.size_wh or len(tiles) != (grid[2] + 1) * (grid[3] + 1):
            raise ValueError("the grid does not match the tiles")
        return tiles

    def _coded_cost(self, item: Item) -> int:
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

    def _stream(self, item: Item) -> StreamSize:
        data = self._file.bytes_of(item, len(self._data))
        if self._kind == "AVIF":
            # Decoders read the box av1C, without the first four bytes, before the item. The box may
            # contain the sequence header.
            return av1_stream(item.body_of(b"av1C")[4:] + data)
        size, length_bytes = hevc_configuration(item.body_of(b"hvcC"))
        return size + hevc_item(data, length_bytes)

    def _alpha_of(self, numbers: set[int]) -> list[int]:
        return [
            source
            for name, source, targets in self._file.references
            if name == b"auxl"
            and not numbers.isdisjoint(targets)
            and self._file.item(source).body_of(b"auxC")[4:].startswith(_ALPHA)
        ]

    def _check_metadata(self) -> None:
        size = sum(
            (length or len(self._data)) * len(targets)
            for name, source, targets in self._file.references
            if name == b"cdsc"
            for _, _, length in self._file.item(source).extents
        )
        if size > MAX_METADATA_BYTES:
            raise ValueError(f"more than {MAX_METADATA_BYTES:,} bytes of EXIF and XMP")


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

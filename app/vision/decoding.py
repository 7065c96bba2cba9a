"""Opens image files with Pillow's readers and reports why a file cannot be read.

Pillow reads the size before it decodes, and it reports truncated files. OpenCV does not report
truncation: it fills the missing part with grey pixels. This module calls the reader for the type of
the file directly, because `Image.open` loads all plugins and hides the reason why a file is
rejected.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pillow_heif
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from app.errors import ImageTooLarge, UndecodableImage, UnsupportedImageType
from app.vision.heif import read_primary_image
from app.vision.jpeg_end import completed_jpeg, ends_in_grey, has_end_marker, has_truncated_scan
from app.vision.structure import (
    ReadLimitedFile,
    check_jpeg,
    check_tiff,
    check_webp,
    exif_orientation,
)
from app.vision.tiff_pages import full_resolution_first

READERS: dict[str, Callable[[Any], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "HEIF": pillow_heif.HeifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_INCOMPLETE = "the image data is incomplete"
_PNG_BITS = 24  # offset of the number of bits per channel
_ISO_MEDIA = ("HEIF", "AVIF")
_CHECKS = {"JPEG": check_jpeg, "TIFF": check_tiff, "WEBP": check_webp}

_UNSUPPORTED_SAMPLE_FORMATS = {2: "signed values", 3: "floating-point pixels"}

# From the EXIF orientation to the operation that makes the image upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# XMP contains the orientation as an attribute, tiff:Orientation="6", or as an element,
# <tiff:Orientation>6</tiff:Orientation>.
_XMP_ORIENTATION = re.compile(
    rb"""tiff:Orientation(?:\s{0,20}=\s{0,20}["']|\s{0,20}>)\s{0,20}([1-8])\s{0,20}["'<]"""
)

# The errors of Pillow's readers for damaged or incomplete files. They have no common base class.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# The start of Pillow's messages about unsupported features.
_UNSUPPORTED = re.compile(
    r"unsupported|cannot handle|unknown (pixel mode|data organization|filter|raw mode)"
    r"|not supported|conversion from .* not supported",
    re.IGNORECASE,
)
# Messages that clients may see: text without object addresses and Python internals.
_SAFE_MESSAGE = re.compile(r"[\w ,.:;()+/'-]{4,200}")


@dataclass(slots=True)
class OpenedImage:
    """An image file whose size is known and whose pixels are not decoded."""

    image: ImageFile.ImageFile
    kind: str
    data: bytes
    crop: tuple[int, int, int, int] | None = None
    """The visible part: left, top, right, bottom. None for the whole image."""


@cache
def configure_libraries() -> None:
    """Set the process-wide options of Pillow and pillow_heif that limit memory and threads.

    `open_image` calls it, so that importing this module changes no other library.
    """
    # Pillow's warnings about damaged files contain numbers from the file. Python stores the text of
    # each new warning in a registry, so the warnings would leak memory. Relevant damage raises
    # errors.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Limit the memory for compressed text in a PNG. The service does not use the text.
    PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK
    # Use one thread per image, because requests run in parallel.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.options.DECODE_THREADS = 1
    # Ignore other images in a file.
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False


def open_image(data: bytes, kind: str, max_pixels: int) -> OpenedImage:
    """Open a file without decoding the pixels. Must be called inside `translated_errors`,
    which converts the errors."""
    configure_libraries()
    if kind in _ISO_MEDIA:
        primary = read_primary_image(data, kind, max_pixels)
        if kind == "AVIF":
            # Let Pillow read the still image of a file that also holds a sequence.
            data = data[:8] + data[8:12].replace(b"avis", b"avif") + data[12:]
            return OpenedImage(READERS[kind](io.BytesIO(data)), kind, data, primary.crop)
        return OpenedImage(READERS[kind](io.BytesIO(data)), kind, data)
    if kind == "TIFF":
        data = full_resolution_first(data)
    if check := _CHECKS.get(kind):
        check(data)
    image = READERS[kind](ReadLimitedFile(data))
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_samples(image)
        _check_planes(image)
    return OpenedImage(image, kind, data)


def _check_samples(image: TiffImagePlugin.TiffImageFile) -> None:
    """Reject values with an unknown range. Pillow would read most of them as black."""
    tags = image.tag_v2
    for sample_format in tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)):
        if description := _UNSUPPORTED_SAMPLE_FORMATS.get(sample_format):
            raise UnsupportedImageType(f"the TIFF image has {description}, which are not supported")
    if (bits := max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))) > 16:
        raise UnsupportedImageType(
            f"the TIFF image has values of {bits} bits; at most 16 bits are supported"
        )


def _check_planes(image: TiffImagePlugin.TiffImageFile) -> None:
    """Reject uncompressed 16-bit planes. Pillow would read them as 8-bit planes."""
    tags = image.tag_v2
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2 and len(bits) > 1
    if planar and max(bits) > 8 and tags.get(TiffImagePlugin.COMPRESSION, 1) == 1:
        raise UnsupportedImageType(
            "the TIFF image has uncompressed separate planes of 16 bits, which are not supported"
        )


def load_pixels(
    opened: OpenedImage, draft: tuple[str | None, tuple[int, int]]
) -> tuple[Image.Image, float]:
    """Decode the image. Returns the image before the EXIF orientation is applied, and the scale (at
    most 1).

    `draft` applies to JPEG: the mode and the minimum size of the result. A JPEG without an end
    marker is accepted if the scans are complete; a JPEG with an incomplete scan is rejected. Call
    it within `translated_errors`.
    """
    image, width = opened.image, opened.image.size[0]
    if opened.kind == "JPEG" and not has_end_marker(opened.data):
        image = READERS["JPEG"](ReadLimitedFile(_completed(opened.data)))
    drafted = image.draft(*draft)
    image.load()
    if opened.kind == "JPEG" and ends_in_grey(image) and has_truncated_scan(opened.data):
        raise ValueError(_INCOMPLETE)
    if opened.kind == "PNG":
        _reduce_transparent_color(image, opened.data)
    scale = drafted[1][2] / width if drafted else 1.0
    return image.crop(opened.crop) if opened.crop else image, scale


def _completed(data: bytes) -> bytes:
    """Add the end marker to a JPEG. Raises ValueError if the scans are not complete."""
    if (completed := completed_jpeg(data)) is None:
        raise ValueError(_INCOMPLETE)
    return completed


def _reduce_transparent_color(image: Image.Image, data: bytes) -> None:
    """Reduce the transparent colour of a PNG to 8 bits, in the same way as Pillow reduces the
    pixels."""
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple):
        shift = 8 if data[_PNG_BITS] == 16 else 0
        image.info["transparency"] = tuple(value >> shift & 0xFF for value in key)


def apply_orientation(image: Image.Image, kind: str) -> tuple[Image.Image, bool]:
    """Apply the orientation from EXIF or, without EXIF, from XMP. Returns the upright image and
    whether width and height were swapped."""
    orientation = _orientation(image, kind)
    upright = image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
    return upright, orientation >= 5


@contextmanager
def translated_errors(kind: str, max_pixels: int) -> Iterator[None]:
    """Convert the errors of Pillow and of the structure checks to ImageTooLarge,
    UnsupportedImageType or UndecodableImage. The message contains the reason."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image has more than {max_pixels:,} pixels") from error
    except _DECODE_ERRORS as error:
        reason = _reason(error)
        if isinstance(error, NotImplementedError) or _UNSUPPORTED.match(reason):
            raise UnsupportedImageType(
                f"the {kind} image has a feature that is not supported: {reason or 'unknown'}"
            ) from error
        detail = f": {reason}" if reason else ""
        raise UndecodableImage(f"the {kind} image is damaged or truncated{detail}") from error


def _reason(error: Exception) -> str:
    """Return the message of the error if clients may see it; otherwise an empty string."""
    if not isinstance(error, OSError | SyntaxError | ValueError | RuntimeError):
        return ""
    text = str(error)
    # Ignore messages of wrapped KeyErrors: they contain an index of an internal table of Pillow.
    wrapped = error.__cause__ is not None and text == str(error.__cause__)
    return text if _SAFE_MESSAGE.fullmatch(text) and not wrapped else ""


def _orientation(image: Image.Image, kind: str) -> int:
    """Return the orientation of a decoded image; 1 if the file has none.

    Pillow applies the orientation of a TIFF, and libheif applies the orientation of a HEIF. For
    AVIF, Pillow reads the orientation from the boxes and returns it in place of the EXIF block.
    Pillow's EXIF reader is not used, because it parses all tags and writes them again.
    """
    if kind in ("TIFF", "HEIF"):
        return 1
    info = image.info
    exif = info.get("exif") or _hexadecimal(info.get("Raw profile type exif", ""))
    if kind == "AVIF":
        return exif_orientation(exif) or 1
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    if (orientation := exif_orientation(exif)) is not None:
        return orientation
    found = _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(found[1]) if found else 1


def _hexadecimal(text: str) -> bytes:
    """Decode EXIF that old versions of ImageMagick write into a PNG as text: three lines and then
    hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""

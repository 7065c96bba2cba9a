"""Opens image files with Pillow's readers and gives the reason when a file cannot be read.

Pillow knows the size before it decodes and says when a file is cut short; OpenCV would return an
image that is grey from the cut on. The reader of the file's type is called directly: `Image.open`
would load all plugins and lose the reason why a file is refused.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
from app.vision.jpeg_end import completed_jpeg, ends_in_grey, has_end, is_cut_before_end
from app.vision.structure import (
    ReadLimitedFile,
    check_jpeg,
    check_tiff,
    check_webp,
    exif_orientation,
)
from app.vision.tiff_pages import full_resolution_first

# Limit the memory for compressed texts of a PNG, which the service does not use.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK
# Pillow's warnings about damaged files contain numbers from the file, and Python keeps the text of
# each new warning for ever. Damage that matters is raised as an error.
warnings.filterwarnings("ignore", module=r"PIL\.")

# One thread per image, because requests run in parallel. Other images in the file are not needed.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
pillow_heif.options.DECODE_THREADS = 1
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False

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
_CUT = "its scan ends before the image does"
_PNG_BITS = 24  # offset of the bits of a channel
_ISO_MEDIA = ("HEIF", "AVIF")
_CHECKS = {"JPEG": check_jpeg, "TIFF": check_tiff, "WEBP": check_webp}

# Those that are not supported.
_SAMPLE_FORMATS = {2: "signed values", 3: "floating-point pixels"}

# How to turn an image upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# As an attribute, tiff:Orientation="6", or an element, <tiff:Orientation>6</tiff:Orientation>.
_XMP_ORIENTATION = re.compile(
    rb"""tiff:Orientation(?:\s{0,20}=\s{0,20}["']|\s{0,20}>)\s{0,20}([1-8])\s{0,20}["'<]"""
)

# What Pillow's readers raise for damaged or incomplete files (the errors have no common base).
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
# The beginnings of Pillow's messages about features that it does not support.
_UNSUPPORTED = re.compile(
    r"unsupported|cannot handle|unknown (pixel mode|data organization|filter|raw mode)"
    r"|not supported|conversion from .* not supported",
    re.IGNORECASE,
)
# Messages fit for a client: words, without addresses of objects or lists of internals.
_READABLE = re.compile(r"[\w ,.:;()+/'-]{4,200}")


@dataclass(slots=True)
class OpenedImage:
    """An image file with its size known and its pixels not decoded."""

    image: ImageFile.ImageFile
    kind: str
    data: bytes
    crop: tuple[int, int, int, int] | None = None
    """The part that is shown: left, top, right, bottom."""


def open_image(data: bytes, kind: str, max_pixels: int) -> OpenedImage:
    """Open a file without decoding its pixels. Call within `translated_errors`, which turns its
    errors into those of the domain."""
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
    """Refuse values whose range is not stated: Pillow would read most of them as black."""
    tags = image.tag_v2
    for sample in tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)):
        if what := _SAMPLE_FORMATS.get(sample):
            raise UnsupportedImageType(f"the TIFF image has {what}, which are not supported")
    if (bits := max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))) > 16:
        raise UnsupportedImageType(
            f"the TIFF image has values of {bits} bits: at most 16 are supported"
        )


def _check_planes(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse uncompressed 16-bit planes, which Pillow reads wrongly as 8-bit planes."""
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
    """Return the decoded image, before it is turned upright, and its scale (at most 1).

    `draft` is the mode of a JPEG and the smallest size to which it may be reduced. A JPEG without
    an end marker is read if its scans are complete; one with an incomplete scan is refused. Call
    within `translated_errors`.
    """
    image, width = opened.image, opened.image.size[0]
    if opened.kind == "JPEG" and not has_end(opened.data):
        image = READERS["JPEG"](ReadLimitedFile(_completed(opened.data)))
    drafted = image.draft(*draft)
    image.load()
    if opened.kind == "JPEG" and ends_in_grey(image) and is_cut_before_end(opened.data):
        raise ValueError(_CUT)
    if opened.kind == "PNG":
        _reduce_transparent_color(image, opened.data)
    return image.crop(opened.crop) if opened.crop else image, (
        drafted[1][2] / width if drafted else 1.0
    )


def _completed(data: bytes) -> bytes:
    """A JPEG with an end marker. Raises ValueError if its scans are not complete."""
    if (completed := completed_jpeg(data)) is None:
        raise ValueError(_CUT)
    return completed


def _reduce_transparent_color(image: Image.Image, data: bytes) -> None:
    """Give the transparent colour of a PNG the 8 bits that Pillow has reduced the pixels to."""
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple):
        shift = 8 if data[_PNG_BITS] == 16 else 0
        image.info["transparency"] = tuple(value >> shift & 0xFF for value in key)


def turned_upright(image: Image.Image, kind: str) -> tuple[Image.Image, bool]:
    """Turn the image upright by its EXIF orientation, or else by its XMP. Return it and whether
    width and height were swapped."""
    orientation = _orientation(image, kind)
    upright = image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
    return upright, orientation >= 5


@contextmanager
def translated_errors(kind: str, max_pixels: int) -> Iterator[None]:
    """Raise ImageTooLarge, UnsupportedImageType or UndecodableImage for the errors of Pillow and
    of the structure checks, with their reason."""
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
        raise UndecodableImage(f"the {kind} image is damaged or cut short{detail}") from error


def _reason(error: Exception) -> str:
    """The error's message, if it is fit for a client; otherwise empty."""
    if not isinstance(error, OSError | SyntaxError | ValueError | RuntimeError):
        return ""
    text = str(error)
    # Pillow wraps an index into its tables: SyntaxError(KeyError(…)).
    wrapped = error.__cause__ is not None and text == str(error.__cause__)
    return text if _READABLE.fullmatch(text) and not wrapped else ""


def _orientation(image: Image.Image, kind: str) -> int:
    """The orientation of a decoded image; 1 if the file has none.

    Pillow turns a TIFF itself, and libheif a HEIF. The orientation of an AVIF is in its boxes;
    Pillow returns it as EXIF, in the place of the file's own EXIF. Pillow's EXIF reader is not
    used, because it parses all tags and writes them again.
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
    """The EXIF that old versions of ImageMagick write into a PNG as text: three lines, then
    hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""

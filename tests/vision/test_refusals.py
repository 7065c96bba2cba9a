"""Messages for images that are damaged, not supported or too large."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, UndecodableImage, UnsupportedImageType
from app.vision.image import ImageFile
from testbed.image_writers import png, png_chunk, run_length_bmp, tiff

COLORS = Image.fromarray(
    np.arange(32 * 32 * 3, dtype=np.uint16).astype(np.uint8).reshape(32, 32, 3)
)


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.copy().save(data, kind, **options)
    return data.getvalue()


def gray_tiff(*entries, data=bytes(64)):
    known = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    known |= {273: (4, 1, 8), 279: (4, 1, len(data))}
    known |= {tag: rest for tag, *rest in entries}
    return tiff([(tag, *rest) for tag, rest in known.items()], data)


def jpeg_with(marker, precision):
    data = bytearray(encoded(COLORS, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, precision
    return bytes(data)


def bmp_with(offset, value):
    data = bytearray(encoded(COLORS, "BMP"))
    struct.pack_into("<I", data, offset, value)
    return bytes(data)


def bitfields_bmp():
    masks = struct.pack("<3I", 0x3FF00000, 0x000FFC00, 0x3FF)  # ten bits each
    info = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 32, 3, 256, 2835, 2835, 0, 0)
    head = struct.pack("<2sIII", b"BM", 66 + 256, 0, 66)
    return head + info + masks + bytes(256)


UNSUPPORTED = {
    "TIFF zstd": (gray_tiff((259, 3, 1, 50000)), "zstd"),
    "TIFF WebP": (gray_tiff((259, 3, 1, 50001)), "WebP"),
    "TIFF LZMA": (gray_tiff((259, 3, 1, 34925)), "LZMA"),
    "TIFF old JPEG": (gray_tiff((259, 3, 1, 6)), "old-style JPEG"),
    "TIFF fax": (gray_tiff((259, 3, 1, 4)), "CCITT Group 4"),
    "TIFF other": (gray_tiff((259, 3, 1, 12345)), "12345"),
    "TIFF floats": (encoded(Image.new("F", (8, 8)), "TIFF"), "floating-point"),
    "TIFF 24 bits": (gray_tiff((258, 3, 1, 24), data=bytes(192)), "unknown pixel mode"),
    "TIFF 32 bits": (encoded(Image.new("I", (8, 8), 70_000), "TIFF"), "signed values"),
    "TIFF signed, 8 bits": (gray_tiff((339, 3, 1, 2)), "signed values"),
    "TIFF signed, 16 bits": (
        gray_tiff((258, 3, 1, 16), (339, 3, 1, 2), data=b"\x40\0" * 64),
        "signed values",
    ),
    "TIFF signed, 32 bits": (
        gray_tiff((258, 3, 1, 32), (339, 3, 1, 2), data=b"\x40\0\0\0" * 64),
        "signed values",
    ),
    "TIFF unsigned, 32 bits": (gray_tiff((258, 3, 1, 32), data=b"\x40\0\0\0" * 64), "32 bits"),
    "TIFF complex": (
        gray_tiff((258, 3, 1, 32), (339, 3, 1, 5), data=bytes(256)),
        "unknown pixel mode",
    ),
    "TIFF Lab": (encoded(Image.new("LAB", (8, 8)), "TIFF"), "CIELAB"),
    "JPEG 12 bits": (jpeg_with(0xC1, 12), "12 bits"),
    "JPEG lossless": (jpeg_with(0xC3, 8), "lossless"),
    "JPEG hierarchical": (jpeg_with(0xC5, 8), "hierarchical"),
    "BMP of PNG": (bmp_with(30, 5), "compression"),
    "BMP 2 bits": (bmp_with(28, 2), "pixel depth"),
    "BMP bit fields": (bitfields_bmp(), "bitfields"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_feature_is_named_in_the_error(case):
    data, message_part = UNSUPPORTED[case]
    with pytest.raises(UnsupportedImageType, match=message_part):
        ImageFile(data, max_pixels=10_000).read(color=True)


GOOD = {kind: encoded(COLORS, kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")}
DAMAGED = {
    "JPEG cut": (GOOD["JPEG"][:-50], "image data is incomplete"),
    "JPEG 51 scans": (
        encoded(COLORS, "JPEG", progressive=True)[:-2] + b"\xff\xda\0\x08\1\1\0\1\1\0" * 60,
        "scans",
    ),
    "PNG checksum": (GOOD["PNG"].replace(b"IDAT", b"IDAT\x01", 1), "PNG"),
    "PNG filter": (png(8, 8, png_chunk(b"IDAT", b"\x01\x02") + png_chunk(b"IEND", b"")), "PNG"),
    "BMP cut": (GOOD["BMP"][:-50], "truncated"),
    "BMP many runs": (run_length_bmp(b"\1\7" * 16_000, 100, 160), "more than 15,000 steps"),
    "TIFF many tags": (gray_tiff(*((tag, 3, 1, 0) for tag in range(40_000, 41_001))), "1,000 tags"),
    "TIFF cut": (GOOD["TIFF"][:200], "TIFF"),
    "GIF cut": (GOOD["GIF"][:-200], "truncated"),
    "WebP cut": (GOOD["WEBP"][:-20], "WEBP"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named_in_the_error_without_internals(case):
    data, message_part = DAMAGED[case]
    with pytest.raises(UndecodableImage, match=message_part) as raised:
        ImageFile(data, max_pixels=100_000).read(color=True)
    message = str(raised.value)
    assert "damaged or truncated" in message
    assert not any(sign in message for sign in ("<", "0x", "object at", "\n", "Traceback"))


@pytest.mark.parametrize("kind", GOOD)
def test_error_for_a_large_image_contains_size_and_limit(kind):
    with pytest.raises(ImageTooLarge, match=r"32x32 pixels.*1,000 allowed"):
        ImageFile(GOOD[kind], max_pixels=1000)

"""Small files that are expensive to read are rejected, and similar valid files are accepted."""

import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, UndecodableImage, UnsupportedImageType
from app.settings import ROOT
from app.vision.image import ImageFile
from app.vision.structure import exif_orientation
from app.vision.structure.jpeg import MAX_SCANS
from testbed.image_writers import png_chunk, run_length_bmp, tiff, tiled_tiff

GRAY = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).astype(np.uint8).reshape(64, 64))
WIDE = Image.new("RGB", (64, 32), (200, 100, 50))


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.copy().save(data, kind, **options)
    return data.getvalue()


def read(data, color=True):
    return ImageFile(data, max_pixels=50_000_000).read(color=color)


def refused(data, error=UndecodableImage):
    with pytest.raises(error):
        read(data)


def gray_tiff(*entries, size=(8, 8), data=bytes(64)):
    width, height = size
    known = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
    }
    known |= {273: (4, 1, 8), 279: (4, 1, len(data))}
    known |= {tag: rest for tag, *rest in entries}
    return tiff([(tag, *rest) for tag, rest in known.items()], data)


# ---------------------------------------------------------------- JPEG


def scans(count):
    """A progressive JPEG that repeats the last scan `count` times."""
    data = encoded(GRAY, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def test_jpeg_with_too_many_scans_is_rejected():
    read(encoded(WIDE, "JPEG", progressive=True))
    before = scans(1).count(b"\xff\xda")
    read(scans(1 + MAX_SCANS - before))
    refused(scans(2 + MAX_SCANS - before))


def test_bytes_after_the_end_of_a_jpeg_are_ignored():
    """Phones append a video to an image."""
    assert read(encoded(WIDE, "JPEG") + b"\xff\xda\0\x08" * 1000).size_wh == (64, 32)
    assert read(encoded(WIDE, "JPEG", progressive=True) + b"\xff\xda" * 1000).size_wh == (64, 32)


@pytest.mark.parametrize("inside", [b"\xff\xda\0\x08", b"\xff\xd9"])
def test_markers_inside_a_jpeg_comment_are_ignored(inside):
    comment = inside * 100
    segment = b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment
    good = encoded(WIDE, "JPEG", progressive=True)
    assert read(good[:2] + segment + good[2:]).size_wh == (64, 32)
    many = scans(100)
    refused(many[:2] + segment + many[2:])


def test_jpeg_with_too_many_segments_is_rejected():
    good = encoded(WIDE, "JPEG")
    read(good[:2] + b"\xff\xfe\0\2" * 1000 + good[2:])
    refused(good[:2] + b"\xff\xfe\0\2" * 10_001 + good[2:])


@pytest.mark.parametrize("marker", [0xF0, 0xFD, 0xC8])
def test_jpeg_with_reserved_markers_is_rejected(marker):
    good = encoded(WIDE, "JPEG")
    refused(good[:2] + bytes([0xFF, marker]) + b"\0\4\0\0" + good[2:])


def exif_jpeg(block):
    good = encoded(WIDE, "JPEG")
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = [
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    ]
    return good[:2] + b"".join(segments) + good[2:]


def test_jpeg_with_too_much_exif_is_rejected():
    assert read(exif_jpeg(tiff([(0x0112, 3, 1, 6)], bytes(60_000)))).size_wh == (32, 64)
    refused(exif_jpeg(tiff([(0x0112, 3, 1, 6)], bytes(131_072))))


# ---------------------------------------------------------------- orientation in EXIF and XMP


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (b"", None),
        (b"Exif\0\0", None),
        (b"II*\0\xff\xff\xff\xff", None),
        (tiff([]), None),
        (tiff([(0x0112, 3, 1, 6)]), 6),
        (b"Exif\0\0" + tiff([(0x0112, 3, 1, 8)]), 8),
        (b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x05\0\0\0\0\0\0", 5),
        (tiff([(0x0112, 4, 1, 3)]), 3),  # some programs write a long
        (tiff([(0x0112, 3, 1, 9)]), None),
        (tiff([(0x0112, 3, 1, 0)]), None),
        (tiff([(0x0112, 3, 2, 6)]), 6),
        (tiff([(0x0112, 3, 2, 6 | 8 << 16)]), 6),
        (b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x02\0\x05\0\x08\0\0\0\0", 5),
        (tiff([(0x0112, 3, 3, 6)]), None),  # an offset
        (tiff([(0x0112, 4, 2, 6)]), None),  # an offset
        (tiff([(0x0112, 3, 1, 6)])[:-8], None),
    ],
)
def test_orientation_is_read_from_exif(exif, orientation):
    assert exif_orientation(exif) == orientation


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about damaged tags
def test_image_with_damaged_exif_is_accepted():
    assert read(exif_jpeg(b"not EXIF at all")).size_wh == (64, 32)
    tags = tiff([(0x0112, 3, 1, 6), (0x010F, 2, 2**31, 2**31), (0x8769, 4, 1, 2**31)])
    assert read(exif_jpeg(tags)).size_wh == (32, 64)


def test_orientation_is_read_from_xmp():
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    good = encoded(WIDE, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
    assert read(good[:2] + segment + good[2:]).size_wh == (32, 64)
    good = encoded(WIDE, "PNG")
    text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    assert read(good[:33] + text + good[33:]).size_wh == (32, 64)


def test_orientation_is_read_from_the_text_profile_of_imagemagick():
    profile = b"\nexif\n      26\n" + tiff([(0x0112, 3, 1, 6)]).hex().encode()
    chunk = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))
    good = encoded(WIDE, "PNG")
    assert read(good[:33] + chunk + good[33:]).size_wh == (32, 64)
    broken = png_chunk(b"tEXt", b"Raw profile type exif\0\n\n\nxyz")
    assert read(good[:33] + broken + good[33:]).size_wh == (64, 32)


# ---------------------------------------------------------------- TIFF


def test_tiff_with_tiles_much_larger_than_the_image_is_rejected():
    read(tiled_tiff(WIDE))
    read(gray_tiff((322, 4, 1, 512), (323, 4, 1, 512), (324, 4, 1, 8), (325, 4, 1, 2**18),
                   data=bytes(2**18)))  # fmt: skip
    for tile in ((9000, 8), (8, 9000), (2**32 - 1, 2**32 - 1)):
        where = ((324, 4, 1, 8), (325, 4, 1, 64))
        refused(gray_tiff((322, 4, 1, tile[0]), (323, 4, 1, tile[1]), *where), ImageTooLarge)


def test_tiff_with_too_many_strips_is_rejected():
    def strips(count):
        data = bytes(8) + struct.pack("<I", 8) * count + struct.pack("<I", 1) * count
        where = ((278, 4, 1, 1), (273, 4, count, 16), (279, 4, count, 16 + 4 * count))
        return gray_tiff(*where, size=(1, count), data=data)

    assert read(strips(10_000)).size_wh == (1, 10_000)
    refused(strips(10_001))


def test_tiff_with_too_many_tags_is_rejected():
    read(gray_tiff(*((tag, 3, 1, 0) for tag in range(40_000, 40_900))))
    refused(gray_tiff(*((tag, 3, 1, 0) for tag in range(40_000, 41_000))))


def test_sub_directories_of_a_tiff_are_checked():
    numbers = struct.pack("<HHHIII", 1, 37396, 4, 10_001, 8, 0)
    data = bytes(50_000) + numbers
    refused(gray_tiff((34665, 4, 1, 50_008), (279, 4, 1, 64), data=data))
    # A directory that refers to itself.
    loop = gray_tiff()
    at = struct.unpack("<I", loop[4:8])[0]
    assert read(gray_tiff((34665, 4, 1, at))).size_wh == (8, 8)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_tiff_with_fax_compression_is_rejected(compression):
    refused(encoded(GRAY.convert("1"), "TIFF", compression=compression), UnsupportedImageType)


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
@pytest.mark.parametrize("big", [False, True])
def test_tiff_with_a_supported_compression_is_accepted(compression, big):
    data = encoded(WIDE, "TIFF", compression=compression, big_tiff=big)
    assert np.abs(read(data).bgr[0, 0].astype(int) - (50, 100, 200)).max() <= 6


# ---------------------------------------------------------------- files with many parts


def webp(chunks):
    body = b"WEBP" + encoded(WIDE, "WEBP")[12:] + b"junk\0\0\0\0" * chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(extensions):
    good = encoded(GRAY, "GIF")
    start = 13 + 3 * 2 ** ((good[10] & 7) + 1)
    return good[:start] + b"!\1\1x\0" * extensions + good[start:]


def png_of(chunks):
    good = encoded(WIDE, "PNG")
    return good[:33] + png_chunk(b"prVt", b"") * chunks + good[33:]


def bmp(runs):
    line = b"\x01\x07" * 100 + b"\0\0"
    return run_length_bmp(line * (runs // 100), 100, runs // 100)


@pytest.mark.parametrize("make", [webp, gif, png_of, bmp])
def test_file_with_too_many_parts_is_rejected(make):
    read(make(1000))
    refused(make(16_000))


def test_png_with_too_much_text_is_rejected():
    def texts(count):
        text = zlib.compress(b"a" * 1_000_000)
        chunks = (png_chunk(b"zTXt", b"k%d\0\0" % number + text) for number in range(count))
        good = encoded(WIDE, "PNG")
        return good[:33] + b"".join(chunks) + good[33:]

    read(texts(3))
    refused(texts(5))


def test_warnings_about_damaged_files_are_not_stored():
    """Python stores the text of each warning, and the text differs for each damaged file."""
    code = """
import sys
from app.errors import EmotionError
from app.vision.image import ImageFile
from testbed.image_writers import tiff
for number in range(200):
    usual = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
    data = tiff([*usual, (1000 + number, 1, 2**31, 2**31)], bytes(64))
    ImageFile(data, max_pixels=100).read()
kept = [len(getattr(it, "__warningregistry__", ())) for it in list(sys.modules.values())]
print(max(kept))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert int(done.stdout) < 10
    assert not re.search("Warning", done.stderr)


# ---------------------------------------------------------------- conversion strip by strip


@pytest.mark.parametrize("rows", [255, 256, 257, 700])
def test_conversion_in_strips_has_no_seams(rows):
    values = (np.arange(rows * 3).reshape(rows, 3) * 31 % 65536).astype(np.uint16)
    raster = read(encoded(Image.fromarray(values), "PNG"))
    assert (raster.gray == (values.astype(int) + 128) // 257).all()
    clear = Image.fromarray(
        np.dstack([values % 256] * 3 + [np.zeros_like(values)]).astype(np.uint8)
    )
    assert (read(encoded(clear, "PNG")).bgr == 255).all()

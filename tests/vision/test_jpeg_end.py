"""A JPEG is accepted if the scans are complete, with or without an end marker."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.errors import UndecodableImage
from app.settings import ROOT
from app.vision.image import ImageFile
from app.vision.jpeg_end import has_truncated_scan

IMAGE = Image.open(ROOT / "docs" / "astronaut.jpg").resize((200, 150))
KINDS = {
    "baseline": {},
    "4:4:4": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 4},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}
END = b"\xff\xd9"
TEXT_TRAILER = b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1483225200000"


def samsung_trailer(*blocks: bytes) -> bytes:
    """Blocks of data, then a directory. An entry has the offset of its block, counted backwards
    from the start of the directory."""
    data, entries = b"".join(blocks), b""
    offset = len(data)
    for block in blocks:
        entries += struct.pack("<HHII", 0, 0x0A01, offset, len(block))
        offset -= len(block)
    directory = b"SEFH" + struct.pack("<II", 107, len(blocks)) + entries
    return data + directory + struct.pack("<I", len(directory)) + b"SEFT"


TRAILERS = {
    "nothing": b"",
    "zeros": bytes(100),
    "text": TEXT_TRAILER,
    "Samsung": samsung_trailer(TEXT_TRAILER, b"\0\0\x31\x0a panorama \xff\xe1\0\x08ABCDEF" * 20),
    "a marker": b"\xff\xe5\0\x06ABCD",
}


def jpeg(kind):
    options = dict(KINDS[kind])
    data = io.BytesIO()
    IMAGE.convert(options.pop("mode", "RGB")).save(data, "JPEG", quality=85, **options)
    whole = data.getvalue()
    assert whole.endswith(END)
    return whole


def read(data, **options):
    return ImageFile(data, max_pixels=1_000_000).read(**options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_complete_scan_is_accepted_without_an_end_marker(kind, trailer, scale):
    whole = jpeg(kind)
    expected = read(whole, scale=scale, color=True)
    raster = read(whole[:-2] + TRAILERS[trailer], scale=scale, color=True)
    assert (raster.bgr == expected.bgr).all()
    assert (raster.size_wh, raster.scale) == (expected.size_wh, expected.scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_truncated_scan_is_rejected(kind, trailer, share, scale):
    whole = jpeg(kind)
    with pytest.raises(UndecodableImage, match="damaged or truncated"):
        read(whole[: int(len(whole) * share)] + TRAILERS[trailer], scale=scale)


@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "restarts", "grey", "CMYK"])
@pytest.mark.parametrize("share", [0.25, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_truncated_scan_with_an_end_marker_is_rejected(kind, share, scale):
    """libjpeg fills the missing pixels with grey."""
    whole = jpeg(kind)
    with pytest.raises(UndecodableImage, match="image data is incomplete"):
        read(whole[: int(len(whole) * share)].rstrip(b"\xff") + END, scale=scale)


@pytest.mark.parametrize("kind", ["baseline", "grey", "4:4:4"])
def test_truncated_scan_with_a_samsung_trailer_is_rejected(kind):
    whole = jpeg(kind)
    panorama = b"\0\0\x31\x0a" + b"panorama" * 5_000
    with pytest.raises(UndecodableImage, match="image data is incomplete"):
        read(whole[: int(len(whole) * 0.7)] + samsung_trailer(panorama))
    assert read(whole[:-2] + samsung_trailer(panorama)).size_wh == IMAGE.size


def test_image_with_a_grey_end_is_accepted():
    data = io.BytesIO()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(data, "JPEG")
    assert (read(data.getvalue(), color=True).bgr == 128).all()
    assert (read(data.getvalue()[:-2], color=True).bgr == 128).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("restarts", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 95}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}],
)
@pytest.mark.parametrize("side", [300, 256, 301])
def test_image_with_restart_markers_and_a_grey_end_is_accepted(mode, restarts, options, side):
    image = Image.new("RGB", (side, side), (128, 128, 128))
    image.paste(IMAGE, (20, 20))
    data = io.BytesIO()
    corner = {"RGB": (128,) * 3, "L": 128, "CMYK": (127,) * 4}[mode]
    image = image.convert(mode)
    image.paste(corner, (0, 200, side, side))
    image.save(data, "JPEG", **restarts, **options)
    whole = data.getvalue()
    for scale in (1.0, 0.25):
        with Image.open(io.BytesIO(whole)) as expected:
            assert read(whole, scale=scale, color=True).size_wh == expected.size
    assert read(whole[:-2]).size_wh == (side, side)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_scan_truncated_at_a_restart_marker_is_rejected(mode, subsampling):
    """The data up to a restart marker do not depend on the following bytes."""
    data = io.BytesIO()
    image = IMAGE.convert(mode)
    image.save(data, "JPEG", restart_marker_blocks=4, subsampling=subsampling)
    whole = data.getvalue()
    scan = whole.index(b"\xff\xda")
    markers = [
        at
        for at in range(scan, len(whole) - 1)
        if whole[at] == 255 and 0xD0 <= whole[at + 1] <= 0xD7
    ]
    assert len(markers) > 10
    for at in (markers[0], markers[len(markers) // 2], markers[-1]):
        for cut in (at, at + 2):
            with pytest.raises(UndecodableImage, match="image data is incomplete"):
                read(whole[:cut] + END)


@pytest.mark.parametrize("arithmetic", [0xC9, 0xCA])
def test_arithmetic_coding_is_not_rejected(arithmetic):
    """Arithmetic coding omits zeros at the end, so truncation cannot be detected."""
    data = bytearray(jpeg("baseline"))
    data[data.index(b"\xff\xc0") + 1] = arithmetic
    assert not has_truncated_scan(bytes(data))


def test_progressive_file_truncated_between_two_scans_is_rejected():
    whole = jpeg("progressive")
    starts = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 4
    for start in starts[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, start)
        with pytest.raises(UndecodableImage):
            read(whole[: tables if tables > 0 else start])


def test_invalid_directory_of_a_samsung_trailer_is_ignored():
    whole = jpeg("baseline")
    for count, offset in ((2**32 - 1, 5), (1, 2**32 - 1), (0, 0)):
        directory = b"SEFH" + struct.pack("<II", 107, count) + struct.pack("<HHII", 0, 1, offset, 9)
        trailer = directory + struct.pack("<I", len(directory)) + b"SEFT"
        assert read(whole[:-2] + trailer).size_wh == IMAGE.size
    assert read(whole[:-2] + struct.pack("<I", 2**32 - 1) + b"SEFT").size_wh == IMAGE.size
    assert np.asarray(read(whole).gray).shape == (150, 200)

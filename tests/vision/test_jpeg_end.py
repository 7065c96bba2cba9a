"""A JPEG is read if its scans are complete, whether or not an end marker follows them."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.errors import UndecodableImage
from app.settings import ROOT
from app.vision.image import ImageFile
from app.vision.jpeg_end import is_cut_before_end

PHOTO = Image.open(ROOT / "docs" / "astronaut.jpg").resize((200, 150))
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
    """Blocks of data and the directory that names them, from its start backwards."""
    data, entries = b"".join(blocks), b""
    left = len(data)
    for block in blocks:
        entries += struct.pack("<HHII", 0, 0x0A01, left, len(block))
        left -= len(block)
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
    PHOTO.convert(options.pop("mode", "RGB")).save(data, "JPEG", quality=85, **options)
    whole = data.getvalue()
    assert whole.endswith(END)
    return whole


def read(data, **options):
    return ImageFile(data, max_pixels=1_000_000).read(**options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_complete_scan_needs_no_end_marker(kind, trailer, scale):
    whole = jpeg(kind)
    expected = read(whole, scale=scale, color=True)
    raster = read(whole[:-2] + TRAILERS[trailer], scale=scale, color=True)
    assert (raster.bgr == expected.bgr).all()
    assert (raster.size_wh, raster.scale) == (expected.size_wh, expected.scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_a_scan_that_is_cut_off_is_refused(kind, trailer, share, scale):
    whole = jpeg(kind)
    with pytest.raises(UndecodableImage, match="damaged or cut short"):
        read(whole[: int(len(whole) * share)] + TRAILERS[trailer], scale=scale)


@pytest.mark.parametrize("kind", ["baseline", "4:4:4", "restarts", "grey", "CMYK"])
@pytest.mark.parametrize("share", [0.25, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_an_end_marker_does_not_make_a_cut_scan_complete(kind, share, scale):
    """libjpeg fills what is missing with grey."""
    whole = jpeg(kind)
    with pytest.raises(UndecodableImage, match="scan ends before"):
        read(whole[: int(len(whole) * share)].rstrip(b"\xff") + END, scale=scale)


@pytest.mark.parametrize("kind", ["baseline", "grey", "4:4:4"])
def test_a_samsung_trailer_does_not_stand_in_for_the_rest_of_a_scan(kind):
    whole = jpeg(kind)
    panorama = b"\0\0\x31\x0a" + b"panorama" * 5_000
    with pytest.raises(UndecodableImage, match="scan ends before"):
        read(whole[: int(len(whole) * 0.7)] + samsung_trailer(panorama))
    assert read(whole[:-2] + samsung_trailer(panorama)).size_wh == PHOTO.size


def test_an_image_that_is_grey_at_its_end_is_read():
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
def test_an_image_with_restart_markers_that_is_grey_at_its_end_is_read(
    mode, restarts, options, side
):
    image = Image.new("RGB", (side, side), (128, 128, 128))
    image.paste(PHOTO, (20, 20))
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
def test_a_scan_cut_at_a_restart_marker_is_refused(mode, subsampling):
    """Before the marker, the data up to the cut are complete, whatever follows."""
    data = io.BytesIO()
    image = PHOTO.convert(mode)
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
            with pytest.raises(UndecodableImage, match="scan ends before"):
                read(whole[:cut] + END)


@pytest.mark.parametrize("arithmetic", [0xC9, 0xCA])
def test_arithmetic_coding_whose_end_cannot_be_told_is_not_refused(arithmetic):
    """An arithmetic coder leaves out zeros at its end."""
    data = bytearray(jpeg("baseline"))
    data[data.index(b"\xff\xc0") + 1] = arithmetic
    assert not is_cut_before_end(bytes(data))


def test_a_progressive_file_cut_between_two_scans_is_refused():
    whole = jpeg("progressive")
    starts = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 4
    for start in starts[1:]:
        tables = whole.rfind(b"\xff\xc4", 0, start)
        with pytest.raises(UndecodableImage):
            read(whole[: tables if tables > 0 else start])


def test_a_directory_of_a_trailer_that_lies_does_no_harm():
    whole = jpeg("baseline")
    for count, offset in ((2**32 - 1, 5), (1, 2**32 - 1), (0, 0)):
        directory = b"SEFH" + struct.pack("<II", 107, count) + struct.pack("<HHII", 0, 1, offset, 9)
        trailer = directory + struct.pack("<I", len(directory)) + b"SEFT"
        assert read(whole[:-2] + trailer).size_wh == PHOTO.size
    assert read(whole[:-2] + struct.pack("<I", 2**32 - 1) + b"SEFT").size_wh == PHOTO.size
    assert np.asarray(read(whole).gray).shape == (150, 200)

import contextlib
import io
import math
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, NoImage, UndecodableImage, UnsupportedImageType
from app.vision.image import ImageFile, crop_face, shrink
from app.vision.types import Box
from testbed.image_writers import png_chunk
from tests.conftest import image_file

LIMIT = 1_000_000
# Left to right and top to bottom: red, green / blue, white.
CORNERS_RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
BIG = np.repeat(np.repeat(CORNERS_RGB, 16, axis=0), 16, axis=1)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def decode(data: bytes, *, max_pixels: int) -> np.ndarray:
    return ImageFile(data, max_pixels=max_pixels).read(color=True).bgr


def corners(image_bgr: np.ndarray) -> np.ndarray:
    """The middle of each quarter, as RGB."""
    height, width = image_bgr.shape[:2]
    rows, columns = [height // 4, 3 * height // 4], [width // 4, 3 * width // 4]
    return image_bgr[np.ix_(rows, columns)][:, :, ::-1].astype(int)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
        ("JPEG", "RGB", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 95, "subsampling": 0}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("GIF", "P", {}),
    ],
)
def test_every_supported_type_gives_the_same_colours(kind, mode, options):
    data = encoded(Image.fromarray(BIG).convert(mode), kind, **options)
    image_bgr = decode(data, max_pixels=LIMIT)
    assert image_bgr.shape == (32, 32, 3)
    assert image_bgr.dtype == np.uint8
    assert np.abs(corners(image_bgr) - CORNERS_RGB).max() <= 6


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("1", (8, 8), 1), 255),
        (Image.new("L", (8, 8), 77), 77),
        (Image.new("LA", (8, 8), (77, 255)), 77),
        (Image.new("LA", (8, 8), (77, 0)), 255),  # transparent pixels become white
        (Image.fromarray(np.full((8, 8), 257 * 77, np.uint16)), 77),
        (Image.fromarray(np.full((8, 8), 65535, np.uint16)), 255),
    ],
    ids=["1 bit", "8 bit", "alpha opaque", "alpha transparent", "16 bit", "16 bit white"],
)
def test_grey_image_of_any_depth_is_scaled_to_8_bits(image, expected):
    assert (decode(encoded(image, "PNG"), max_pixels=LIMIT) == expected).all()


def test_transparent_grey_value_of_16_bits_becomes_white():
    values = np.full((8, 8), 257 * 77, np.uint16)
    values[:4] = 257 * 20 + 1
    values[4, 0] = 257 * 20  # the same value in 8 bits, but not transparent
    data = encoded(Image.fromarray(values), "PNG", transparency=257 * 20 + 1)
    image = decode(data, max_pixels=LIMIT)
    assert (image[:4] == 255).all()
    assert (image[4, 0] == 20).all()
    assert (image[5:] == 77).all()


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("pixel", [(30, 77, 200), (30, 77, 200, 255)], ids=["colour", "alpha"])
def test_colours_of_16_bits_are_scaled_to_8_bits(extension, pixel):
    image = np.full((8, 8, len(pixel)), np.array(pixel) * 257, np.uint16)
    _, data = cv2.imencode(extension, image)
    assert (decode(data.tobytes(), max_pixels=LIMIT) == pixel[:3]).all()


def test_half_transparent_pixels_are_blended_with_white():
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert np.abs(decode(encoded(half, "PNG"), max_pixels=LIMIT).astype(int) - 127).max() <= 1


def test_first_frame_of_an_animation_is_read():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert corners(decode(data, max_pixels=LIMIT))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda upright: upright),
        (2, np.fliplr),
        (3, lambda upright: np.rot90(upright, 2)),
        (4, np.flipud),
        (5, lambda upright: np.swapaxes(upright, 0, 1)),
        (6, lambda upright: np.rot90(upright, 1)),
        (7, lambda upright: np.swapaxes(np.rot90(upright, 2), 0, 1)),
        (8, lambda upright: np.rot90(upright, 3)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation, turn):
    """The file contains the rotated image with the orientation; the result is upright."""
    upright = BIG[:, :24]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    options |= {"lossless": True} if kind == "WEBP" else {}
    stored = Image.fromarray(np.ascontiguousarray(turn(upright)))
    image_bgr = decode(encoded(stored, kind, exif=exif, **options), max_pixels=LIMIT)
    assert image_bgr.shape == upright.shape
    assert np.abs(image_bgr[:, :, ::-1].astype(int) - upright).mean() < 6


def png_header(width: int, height: int) -> bytes:
    """A PNG with this size in the header and without pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4)


@pytest.mark.parametrize("size", [(30_000, 30_000), (1001, 1000), (2**31 - 1, 1)])
def test_size_limit_is_checked_from_the_header(size):
    with pytest.raises(ImageTooLarge):
        decode(png_header(*size), max_pixels=LIMIT)


def test_image_of_the_maximum_size_is_read():
    assert decode(image_file(40, 25), max_pixels=1000).shape == (25, 40, 3)


def test_empty_file_raises_no_image():
    with pytest.raises(NoImage):
        decode(b"", max_pixels=LIMIT)


@pytest.mark.parametrize(
    "data",
    [b"hello, I am text", b"%PDF-1.7", b"<svg/>", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x1cftypisom"],
)
def test_other_content_is_rejected_with_the_supported_types(data):
    with pytest.raises(UnsupportedImageType, match="JPEG, PNG, WEBP, BMP, TIFF, GIF, HEIF, AVIF"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_image_is_rejected(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    with pytest.raises((UndecodableImage, UnsupportedImageType)):
        decode(whole[: int(len(whole) * share)], max_pixels=LIMIT)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about damaged tags
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_image_raises_only_image_errors(kind):
    whole = bytearray(image_file(64, 64, kind=kind))
    generator = np.random.default_rng(2)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 8):
            damaged[place] = generator.integers(0, 256)
        with contextlib.suppress(UndecodableImage, UnsupportedImageType, ImageTooLarge):
            assert decode(bytes(damaged), max_pixels=LIMIT).dtype == np.uint8


def test_floating_point_pixels_are_rejected():
    data = encoded(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")
    with pytest.raises(UnsupportedImageType, match="floating-point"):
        decode(data, max_pixels=LIMIT)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("JPEG", 1)])
def test_grey_pixels_have_the_rec_601_weights(kind, tolerance, color):
    primaries = np.repeat(np.eye(3, dtype=np.uint8) * 255, 8, axis=0)[None].repeat(8, axis=0)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(Image.fromarray(primaries), kind, **options)
    gray = ImageFile(data, max_pixels=LIMIT).read(color=color).gray
    assert np.abs(gray[4, [4, 12, 20]].astype(int) - [76, 150, 29]).max() <= tolerance


def smooth(width, height):
    """A smooth image that changes little when it is reduced: two gradients of grey."""
    down, across = np.mgrid[:height, :width]
    return (40 + 60 * across / width + 100 * down / height).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "expected_scale"),
    [(1, 1), (0.51, 1), (0.5, 0.5), (0.3, 0.5), (0.25, 0.25), (0.01, 0.125)],
)
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("color", [False, True])
def test_jpeg_is_read_at_the_smallest_sufficient_scale(scale, expected_scale, orientation, color):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = smooth(801, 400)
    data = encoded(Image.fromarray(stored).convert("RGB"), "JPEG", exif=exif, quality=95)
    file = ImageFile(data, max_pixels=LIMIT)
    assert file.longer_side == 801
    raster = file.read(scale=scale, color=color)
    upright = stored if orientation == 1 else np.rot90(stored, -1)
    assert raster.scale == expected_scale
    assert raster.size_wh == upright.shape[::-1]
    assert raster.gray.shape == tuple(math.ceil(expected_scale * side) for side in upright.shape)
    place = tuple(int(expected_scale * side * 0.8) for side in upright.shape)
    expected = upright[tuple(int(index / expected_scale) for index in place)]
    assert abs(int(raster.gray[place]) - int(expected)) <= 3
    if color:
        assert raster.bgr.shape == (*raster.gray.shape, 3)
    else:
        with pytest.raises(ValueError, match="colours"):
            raster.bgr  # noqa: B018


def test_other_types_are_read_at_full_size():
    raster = ImageFile(encoded(Image.fromarray(smooth(80, 40)), "PNG"), max_pixels=LIMIT).read(
        scale=0.1
    )
    assert (raster.gray.shape, raster.scale) == ((40, 80), 1.0)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("scale", [1.0, 0.125])
def test_truncated_jpeg_is_rejected_at_any_scale(share, scale):
    noise = np.random.default_rng(1).integers(0, 256, (640, 640, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(UndecodableImage):
        ImageFile(whole[: int(len(whole) * share)], max_pixels=LIMIT).read(scale=scale)


def test_shrink_keeps_the_mean_and_never_enlarges():
    stripes = np.tile(np.array([0, 255], np.uint8), (60, 50))
    assert shrink(stripes, 1.5) is stripes
    small = shrink(stripes, 0.25)
    assert small.shape == (15, 25)
    assert np.abs(small.astype(int) - 127).max() <= 1
    assert shrink(stripes, 1e-6).shape == (1, 1)


RAMP = np.tile(np.arange(100, dtype=np.uint8), (80, 1))


def test_crop_of_the_same_size_has_the_pixels_of_the_image():
    crop = crop_face(RAMP, Box(10, 20, 58, 68), size=48)
    assert (crop == RAMP[20:68, 10:58]).all()


def test_crop_is_a_square_around_the_centre_of_the_box():
    tall = crop_face(RAMP, Box(40, 10, 50, 58), size=48)
    assert (tall == RAMP[10:58, 21:69]).all()


def test_scale_enlarges_the_crop():
    crop = crop_face(RAMP, Box(20, 20, 44, 44), size=48, scale=2.0)
    assert (crop == RAMP[8:56, 8:56]).all()


def test_crop_outside_the_image_repeats_the_edge():
    crop = crop_face(RAMP, Box(-8, -8, 40, 40), size=48)
    assert (crop[:, :8] == 0).all()
    assert (crop[8:, 8:] == RAMP[:40, :40]).all()
    right = crop_face(RAMP, Box(76, 50, 124, 98), size=48)
    assert (right[:, 24:] == 99).all()


def test_crop_of_a_box_outside_the_image_raises_value_error():
    with pytest.raises(ValueError, match="outside"):
        crop_face(RAMP, Box(200, 200, 248, 248), size=48)


def test_crop_is_reduced_without_aliasing():
    stripes = np.tile(np.array([0, 255], np.uint8), (96, 48))
    assert np.abs(crop_face(stripes, Box(0, 0, 96, 96), size=48).astype(int) - 127).max() <= 1


XMP = {
    "double quotes": '<x tiff:Orientation="6"/>',
    "single quotes": "<x tiff:Orientation='6'/>",
    "spaces": "<x tiff:Orientation = '6' />",
    "line break": '<x tiff:Orientation=\n"6"/>',
    "element": "<x><tiff:Orientation>6</tiff:Orientation></x>",
    "element, spaces": "<x><tiff:Orientation >\n 6 </tiff:Orientation></x>",
}


@pytest.mark.parametrize("spelling", XMP)
def test_orientation_in_xmp_is_read_in_every_spelling(spelling):
    data = encoded(Image.new("RGB", (8, 16)), "JPEG", xmp=XMP[spelling].encode())
    assert decode(data, max_pixels=LIMIT).shape == (8, 16, 3)


@pytest.mark.parametrize("text", ["tiff:Orientation='9'", "tiff:Orientation='66'", "Orientation=6"])
def test_invalid_orientation_in_xmp_is_ignored(text):
    data = encoded(Image.new("RGB", (8, 16)), "JPEG", xmp=f"<x {text}/>".encode())
    assert decode(data, max_pixels=LIMIT).shape == (16, 8, 3)


@pytest.mark.parametrize("order", "<>")
def test_first_of_two_orientations_in_exif_is_used(order):
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    block += struct.pack(order + "HHIHHI", 0x0112, 3, 2, 6, 1, 0)
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(Image.new("RGB", (8, 16)), kind, exif=b"Exif\0\0" + block)
        assert decode(data, max_pixels=LIMIT).shape == (8, 16, 3)


@pytest.mark.parametrize("bits", [8, 16])
def test_transparent_colour_of_a_png_becomes_white(bits):
    key = np.array([0x1234, 0x1256, 0x1278]) if bits == 16 else np.array([0x12, 0x34, 0x56])
    values = np.full((8, 8, 3), 77 << (bits - 8), np.int64)
    values[:4] = key
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in values)
    chunks = png_chunk(b"tRNS", struct.pack(">3H", *key))
    chunks += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, 2, 0, 0, 0))
    image = decode(b"\x89PNG\r\n\x1a\n" + header + chunks, max_pixels=LIMIT)
    assert (image[:4] == 255).all()
    assert (image[4:] == 77).all()

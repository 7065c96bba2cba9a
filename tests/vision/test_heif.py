"""HEIC and AVIF: the primary image, its orientation, and the limits before decoding."""

import io
import subprocess
import sys

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from app.errors import ImageTooLarge, UndecodableImage, UnsupportedImageType
from app.settings import ROOT
from app.vision.image import ImageFile
from app.vision.image_type import image_type
from app.vision.iso_boxes import MAX_BOXES
from testbed.heif_writer import (
    ALPHA,
    BRANDS,
    Item,
    box,
    clean_aperture,
    coded_item,
    full_box,
    grid,
    heif_file,
    mirror,
    size_property,
    turn,
)  # fmt: skip
from testbed.image_writers import tiff

KINDS = ["HEIF", "AVIF"]
CORNERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
WIDE = Image.fromarray(CORNERS.repeat(32, axis=0).repeat(48, axis=1))  # 96x64
EXIF = b"\0\0\0\x06Exif\0\0" + tiff([(0x0112, 3, 1, 6)])


def saved(image, kind, more=(), **options):
    """The image as pillow_heif or Pillow writes it."""
    data = io.BytesIO()
    if kind == "AVIF":
        options |= {"save_all": True, "append_images": list(more)} if more else {}
        image.copy().save(data, "AVIF", quality=90, subsampling="4:4:4", **options)
        return data.getvalue()
    file = pillow_heif.from_pillow(image)
    for other in more:
        file.add_from_pillow(other)
    file.save(data, quality=90, chroma=444, **options)
    return data.getvalue()


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def item(kind):
    return coded_item(
        WIDE, kind, **({"chroma": 444} if kind == "HEIF" else {"subsampling": "4:4:4"})
    )


def read(data, max_pixels=1_000_000):
    return ImageFile(data, max_pixels=max_pixels).read(color=True)


def corners(raster):
    height, width = raster.gray.shape
    rows, columns = [height // 4, 3 * height // 4], [width // 4, 3 * width // 4]
    return raster.bgr[np.ix_(rows, columns)][:, :, ::-1].astype(int)


def assert_corners(raster, expected):
    assert np.abs(corners(raster) - expected).max() <= 12


def with_properties(item, *more):
    return Item(item.kind, item.data, (*item.properties, *more), item.references)


# ---------------------------------------------------------------- accepted files


def test_file_of_the_library_is_read(kind):
    raster = read(saved(WIDE, kind))
    assert raster.size_wh == (96, 64)
    assert_corners(raster, CORNERS)


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA"])
def test_grey_and_transparent_images_are_read(kind, mode):
    raster = read(saved(WIDE.convert(mode), kind))
    expected = CORNERS if mode == "RGBA" else np.array(WIDE.convert("L"))[16::32, 24::48, None]
    assert_corners(raster, expected)


def test_transparent_pixels_become_white(kind):
    clear = WIDE.convert("RGBA")
    clear.putalpha(0)
    assert (read(saved(clear, kind)).bgr > 250).all()


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_channels_are_scaled_to_8_bits(bits):
    deep = np.array(WIDE).astype(np.uint16) * 257
    file = pillow_heif.from_bytes("RGB;16", WIDE.size, deep.tobytes())
    data = io.BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        file.save(data, quality=90, chroma=444)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    assert_corners(read(data.getvalue()), CORNERS)


def test_real_image_keeps_its_pixels(kind):
    image = Image.open(ROOT / "docs" / "astronaut.jpg").convert("RGB")
    raster = read(saved(image, kind))
    assert np.abs(raster.bgr[:, :, ::-1].astype(int) - np.asarray(image)).mean() < 2


def test_primary_image_of_several_images_is_read(kind, item):
    other = coded_item(WIDE.transpose(Image.Transpose.ROTATE_180), kind)
    data = heif_file(kind, [other, item, other], primary=2)
    assert_corners(read(data), CORNERS)
    more = [WIDE.transpose(Image.Transpose.ROTATE_180)]
    assert_corners(read(saved(WIDE, kind, more)), CORNERS)


def test_still_image_of_a_sequence_is_read():
    data = saved(WIDE, "AVIF", [WIDE.transpose(Image.Transpose.ROTATE_180)])
    assert data[8:12] == b"avis"
    file = ImageFile(data, max_pixels=10_000)
    assert file._opened.image.n_frames == 1  # the frames of the sequence are ignored
    assert_corners(file.read(color=True), CORNERS)


def test_tiles_are_joined():
    assert_corners(read(saved(WIDE, "HEIF", tile_size=64)), CORNERS)


def test_grid_of_an_avif_file_is_read():
    tiles = [
        coded_item(Image.new("RGB", (64, 64), tuple(map(int, color))), "AVIF", subsampling="4:4:4")
        for color in CORNERS.reshape(4, 3)
    ]
    whole = Item(b"grid", grid(2, 2, 128, 128), (size_property(128, 128), *tiles[0].properties[1:]),
                 {b"dimg": [2, 3, 4, 5]})  # fmt: skip
    properties = [it for it in whole.properties if it[0] not in (b"av1C", b"ispe")]
    whole = Item(whole.kind, whole.data, (size_property(128, 128), *properties), whole.references)
    assert_corners(read(heif_file("AVIF", [whole, *tiles])), CORNERS)


# ---------------------------------------------------------------- orientation

TURNS = {
    "none": ((), lambda it: it),
    "90": ((turn(1),), lambda it: np.rot90(it, 1)),
    "180": ((turn(2),), lambda it: np.rot90(it, 2)),
    "270": ((turn(3),), lambda it: np.rot90(it, 3)),
    "mirrored": ((mirror(1),), np.fliplr),
    "upside down": ((mirror(0),), np.flipud),
    "90, mirrored": (
        (turn(1), mirror(1)),
        lambda it: np.fliplr(np.rot90(it, 1)),
    ),
    "270, upside down": (
        (turn(3), mirror(0)),
        lambda it: np.flipud(np.rot90(it, 3)),
    ),
}


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("exif", [False, True])
def test_boxes_rotate_the_image_and_exif_does_not(kind, item, name, exif):
    properties, turned = TURNS[name]
    items = [with_properties(item, *properties)]
    if exif:
        items.append(Item(b"Exif", EXIF, (), {b"cdsc": [1]}))
    raster = read(heif_file(kind, items))
    assert raster.gray.shape == turned(np.asarray(WIDE)).shape[:2]
    assert_corners(raster, turned(CORNERS))


def test_xmp_does_not_rotate_the_image(kind, item):
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    note = Item(b"mime", xmp, (), {b"cdsc": [1]})
    assert read(heif_file(kind, [item, note])).size_wh == (96, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_the_library_is_applied_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(WIDE, kind, exif=exif.tobytes())
    expected = WIDE.copy()
    expected.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(expected))
    raster = read(data)
    height, width = upright.shape[:2]
    assert raster.size_wh == (width, height)
    assert_corners(raster, upright[height // 4 :: height // 2, width // 4 :: width // 2])


def test_clean_aperture_crops_the_image(kind, item):
    data = heif_file(kind, [with_properties(item, clean_aperture(48, 64, -24))])
    raster = read(data)
    assert raster.size_wh == (48, 64)
    assert np.abs(raster.bgr[16, 24, ::-1].astype(int) - CORNERS[0, 0]).max() <= 12
    turned = heif_file(kind, [with_properties(item, clean_aperture(48, 64, -24), turn(1))])
    assert read(turned).size_wh == (64, 48)


@pytest.mark.parametrize(
    "aperture",
    [clean_aperture(200, 64), clean_aperture(0, 64), (b"clap", bytes(32))],
)
def test_clean_aperture_outside_the_image_is_rejected(kind, item, aperture):
    with pytest.raises(UndecodableImage):
        read(heif_file(kind, [with_properties(item, aperture)]))


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        ([b"heic", b"mif1"], "HEIF"),
        ([b"heix", b"mif1"], "HEIF"),
        ([b"hevc", b"msf1"], "HEIF"),
        ([b"mif1", b"heic"], "HEIF"),
        ([b"msf1", b"hevc"], "HEIF"),
        ([b"mif1"], "HEIF"),
        ([b"avif", b"mif1"], "AVIF"),
        ([b"avis", b"msf1"], "AVIF"),
        ([b"mif1", b"miaf", b"avif"], "AVIF"),
        ([b"isom", b"mp42"], None),
        ([b"mp42", b"avif"], None),
        ([b"qt  "], None),
        ([b"M4A ", b"heic"], None),
        ([b"crx "], None),
        ([b"jxl "], None),
    ],
)
def test_type_is_detected_from_the_brands(brands, expected):
    data = box(b"ftyp", brands[0], bytes(4), *brands[1:]) + bytes(100)
    if expected:
        assert image_type(data) == expected
        return
    with pytest.raises(UnsupportedImageType, match="video or another ISO media file"):
        image_type(data)


def test_sequence_without_a_still_image_is_rejected(kind):
    for rest in (b"", box(b"moov", bytes(100)), full_box(b"meta", full_box(b"hdlr", bytes(20)))):
        with pytest.raises(UnsupportedImageType, match="image"):
            read(box(b"ftyp", BRANDS[kind], bytes(4)) + rest)


@pytest.mark.parametrize("coding", [b"av01", b"hvc1", b"jpeg", b"unci", b"iovl", b"iden", b"j2k1"])
def test_unsupported_coding_is_named_in_the_error(kind, item, coding):
    if coding == item.kind:
        return
    other = Item(coding, item.data, item.properties)
    with pytest.raises(UnsupportedImageType, match=coding.decode()):
        read(heif_file(kind, [other]))


# ---------------------------------------------------------------- rejected files


def resized(item, width, height):
    rest = tuple(it for it in item.properties if it[0] != b"ispe")
    return Item(item.kind, item.data, (size_property(width, height), *rest), item.references)


@pytest.mark.parametrize("size", [(30_000, 30_000), (1001, 1000), (2**31, 2**31)])
def test_size_limit_is_checked_from_the_header(kind, item, size):
    with pytest.raises(ImageTooLarge, match=f"{size[0]}x{size[1]} pixels"):
        ImageFile(heif_file(kind, [resized(item, *size)]), max_pixels=1_000_000)


def test_stream_larger_than_its_image_is_rejected(kind):
    large = coded_item(Image.new("RGB", (512, 512)), kind)
    with pytest.raises(ImageTooLarge, match="stream of 512x512"):
        ImageFile(heif_file(kind, [resized(large, 16, 16)]), max_pixels=1_000)


def test_grid_that_repeats_a_large_tile_is_rejected(kind):
    tile = coded_item(Image.new("RGB", (512, 512)), kind)
    size = size_property(64, 64)
    whole = Item(b"grid", grid(64, 64, 64, 64), (size,), {b"dimg": [2] * 64 * 64})
    with pytest.raises(ImageTooLarge, match="decoded pixels"):
        ImageFile(heif_file(kind, [whole, tile]), max_pixels=1_000_000)


def test_grid_that_does_not_match_its_tiles_is_rejected(kind):
    tile = coded_item(Image.new("RGB", (64, 64)), kind)
    for content, size in (
        (grid(2, 2, 128, 128), (128, 128)),
        (grid(1, 1, 30_000, 30_000), (64, 64)),
        (b"\0\0", (64, 64)),
    ):
        whole = Item(b"grid", content, (size_property(*size),), {b"dimg": [2]})
        with pytest.raises(UndecodableImage, match="grid"):
            read(heif_file(kind, [whole, tile]))


def test_large_alpha_channels_are_rejected(kind, item):
    alpha = coded_item(Image.new("L", (2048, 1024)), kind)
    alpha = Item(alpha.kind, alpha.data, (*alpha.properties, (b"auxC", ALPHA)), {b"auxl": [1]})
    with pytest.raises(ImageTooLarge):
        ImageFile(heif_file(kind, [resized(item, 96, 64), alpha, alpha, alpha]), max_pixels=10_000)


def test_stream_of_many_coded_pictures_is_rejected(kind, item):
    many = Item(item.kind, item.data * 100, item.properties)
    with pytest.raises((UndecodableImage, ImageTooLarge)):
        ImageFile(heif_file(kind, [many]), max_pixels=1_000_000)


def test_too_much_metadata_is_rejected(kind, item):
    block = Item(b"Exif", bytes(1_500_000), (), {b"cdsc": [1, 1]})
    with pytest.raises(UndecodableImage, match="EXIF"):
        ImageFile(heif_file(kind, [item, block]), max_pixels=1_000_000)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_file_is_rejected(kind, share):
    image = Image.open(ROOT / "docs" / "astronaut.jpg").convert("RGB").resize((200, 200))
    whole = saved(image, kind)
    with pytest.raises((UndecodableImage, UnsupportedImageType)):
        read(whole[: int(len(whole) * share)])


def test_duplicate_boxes_and_properties_are_rejected(kind, item):
    data = heif_file(kind, [item])
    meta = data[data.index(b"meta") - 4 : data.index(b"mdat") - 4]
    with pytest.raises(UndecodableImage, match="two meta boxes"):
        read(data + meta)
    twice = Item(item.kind, item.data, (*item.properties, size_property(8, 8)))
    with pytest.raises(UndecodableImage, match="two properties"):
        read(heif_file(kind, [twice]))


def test_too_many_boxes_are_rejected(kind, item):
    data = heif_file(kind, [item])
    with pytest.raises(UndecodableImage, match="boxes"):
        read(data + box(b"free") * MAX_BOXES)


def test_import_does_not_register_readers_in_pillow():
    code = (
        "import app.vision.image; from PIL import Image; "
        "assert not {'HEIF', 'PSD', 'EPS'} & Image.OPEN.keys(), Image.OPEN"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

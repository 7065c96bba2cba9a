"""Encoding of PIL images and arrays: pixels and orientation are the same as those of files."""

import io

import emotions
import numpy as np
import pytest
from emotions import pixels
from emotions.sources import read_image
from PIL import ExifTags, Image

from app.vision.image import ImageFile

RNG = np.random.default_rng(7)
# 40x24 pixels. All rotations and reflections are different.
RGB = np.kron(RNG.integers(0, 256, (3, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
GRAY = RGB[:, :, 0]


def served(data):
    """Decode a file like the service. Returns (height, width, 3) RGB."""
    return ImageFile(data, max_pixels=10**9).read(color=True).bgr[:, :, ::-1]


def sent(image):
    """Encode an image like the client and decode it like the service. Returns (height, width, 3)
    RGB."""
    return served(read_image(image)[1])


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


# ---------------------------------------------------------------- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("loaded", [False, True])
def test_pil_image_is_rotated_like_its_file(kind, orientation, loaded):
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(Image.fromarray(RGB), kind, exif=exif(orientation), **options)
    image = Image.open(io.BytesIO(file))
    if loaded:
        image.load()
    assert np.array_equal(sent(image), served(file))
    sides = (24, 40) if orientation < 5 else (40, 24)
    assert sent(image).shape[:2] == sides


def test_xmp_orientation_is_applied():
    file = saved(Image.fromarray(RGB), "WEBP", lossless=True, xmp=XMP)
    assert np.array_equal(sent(Image.open(io.BytesIO(file))), np.rot90(RGB, -1))


@pytest.mark.parametrize("change", ["convert", "copy", "resize"])
def test_orientation_is_kept_by_convert_copy_and_resize(change):
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "PNG", exif=exif(6))))
    changed = {
        "convert": lambda: image.convert("RGBA"),
        "copy": image.copy,
        "resize": lambda: image.resize(image.size),
    }[change]()
    assert np.array_equal(sent(changed), np.rot90(RGB, -1))


def test_transposed_image_is_not_rotated_again():
    from PIL import ImageOps

    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "PNG", exif=exif(8))))
    upright = ImageOps.exif_transpose(image)
    assert np.array_equal(sent(upright), np.asarray(upright))


@pytest.mark.parametrize("value", [0, 9, 255, "6"])
def test_invalid_orientation_is_ignored(value):
    image = Image.fromarray(RGB)
    image.getexif()[ExifTags.Base.Orientation] = value
    assert np.array_equal(sent(image), RGB)


@pytest.mark.parametrize(
    "info", [{"exif": b"Exif\0\0II*"}, {"Raw profile type exif": "a\nb\nc\nx"}]
)
def test_damaged_exif_is_ignored(info):
    image = Image.fromarray(RGB)
    image.info |= info
    assert np.array_equal(sent(image), RGB)


def test_encode_does_not_change_image_of_caller():
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "PNG", exif=exif(6))))
    sent(image)
    assert image.size == (40, 24)
    assert "exif" in image.info
    assert image.getexif()[ExifTags.Base.Orientation] == 6


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("1", "PNG"), ("1", "TIFF"), ("L", "PNG"), ("L", "JPEG"), ("LA", "PNG"), ("P", "PNG"),
        ("P", "GIF"), ("RGB", "JPEG"), ("RGB", "BMP"), ("RGBA", "PNG"), ("RGBA", "WEBP"),
        ("RGBX", "TIFF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"),
        ("YCbCr", "TIFF"), ("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"),
    ],
)  # fmt: skip
def test_pil_image_of_any_mode_equals_its_file(mode, kind):
    file = saved(in_mode(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(sent(Image.open(io.BytesIO(file))), served(file))


def in_mode(mode):
    image = Image.fromarray(RGB)
    if mode.startswith("I;16"):
        values = GRAY.astype(np.uint16) * 257
        return Image.frombytes(mode, (40, 24), values.astype(">u2" if "B" in mode else "<u2"))
    alpha = Image.fromarray(GRAY)
    if mode == "PA":  # Pillow's conversion loses the alpha channel
        both = Image.merge("PA", (image.convert("L"), alpha))
        both.putpalette([level for level in range(256) for _ in "RGB"])
        return both
    if mode in ("La", "LA"):
        return Image.merge("LA", (image.convert("L"), alpha)).convert(mode)
    if mode in ("RGBa", "RGBA"):
        return Image.merge("RGBA", (*image.split(), alpha)).convert(mode)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        return ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, image.mode, "LAB"))
    return image.convert("F" if mode == "F" else mode)


@pytest.mark.parametrize("mode", ["La", "PA", "RGBa"])
def test_premultiplied_and_palette_alpha_is_blended_with_white(mode):
    expected = sent(in_mode("LA" if mode in ("La", "PA") else "RGBA"))
    assert np.abs(sent(in_mode(mode)).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "RGBX"])
def test_other_colour_modes_are_converted_to_rgb(mode):
    assert np.abs(sent(in_mode(mode)).astype(int) - RGB).max() <= 12


@pytest.mark.parametrize(
    ("mode", "scale"),
    [("F", 1), ("I", 1), *((mode, 257) for mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"))],
)
def test_grey_images_above_8_bits_are_scaled(mode, scale):
    values = GRAY.astype(np.int64) * scale
    form = {"I": "i4", "F": "f4", "I;16N": "u2", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (40, 24), values.astype(form).tobytes())
    assert np.array_equal(sent(image)[:, :, 0], GRAY)


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255])])
def test_transparent_palette_colours_are_blended_with_white(transparency):
    image = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    file = saved(image, "PNG", transparency=transparency)
    read = sent(Image.open(io.BytesIO(file)))
    assert np.array_equal(read, served(file))
    assert (read == 255).all(axis=2).any()


@pytest.mark.parametrize(("mode", "color"), [("L", 255), ("RGB", (1, 2, 3)), ("1", 255)])
def test_transparent_colour_is_blended_with_white(mode, color):
    image = Image.new(mode, (40, 24), color)
    image.info["transparency"] = color
    assert (sent(image) == 255).all()


def test_current_frame_is_encoded(tmp_path):
    frames = [Image.new("RGB", (40, 24), color) for color in ("red", "lime", "blue")]
    path = tmp_path / "three.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert tuple(sent(image)[0, 0]) == (255, 0, 0)
        image.seek(2)
        assert tuple(sent(image)[0, 0]) == (0, 0, 255)
        assert image.tell() == 2


def test_metadata_is_not_sent():
    image = Image.fromarray(RGB)
    image.info |= {"icc_profile": b"secret profile", "comment": b"secret comment"}
    image.getexif()[ExifTags.Base.Artist] = "secret artist"
    _, data = read_image(image)
    assert list(Image.open(io.BytesIO(data)).info) == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF"])
def test_truncated_image_raises_unreadable_image(kind):
    noise = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8))
    file = saved(noise, kind)
    cut = Image.open(io.BytesIO(file[: len(file) * 2 // 3]))
    with pytest.raises(emotions.UnreadableImage, match="the image cannot be read"):
        read_image(cut)


@pytest.mark.parametrize("loaded", [False, True])
def test_closed_image_raises_unreadable_image(loaded):
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "JPEG")))
    if loaded:
        image.load()
    image.close()
    with pytest.raises(emotions.UnreadableImage, match="the image cannot be read"):
        read_image(image)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_empty_image_raises_unreadable_image(size):
    with pytest.raises(emotions.UnreadableImage, match=f"empty: {size[0]}x{size[1]}"):
        read_image(Image.new("RGB", size))


def test_huge_image_is_rejected_before_encoding():
    huge = np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))  # takes no memory
    with pytest.raises(emotions.UnreadableImage, match="100000x100000"):
        read_image(huge)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_large_png_is_replaced_by_jpeg(monkeypatch, mode):
    monkeypatch.setattr(pixels, "MAX_PNG_BYTES", 100)
    image = in_mode(mode)
    name, data = read_image(image)
    assert (name, data[:3]) == ("picture.jpg", b"\xff\xd8\xff")
    expected = served(saved(image, "PNG")).astype(int)
    assert np.abs(served(data) - expected).max() <= 40
    assert np.abs(served(data) - expected).mean() < 3


# ---------------------------------------------------------------- arrays

RGBA = np.dstack([RGB, np.full_like(GRAY, 255)])
UNIT = RGB.astype(np.float64) / 255


class Tensor:
    """A tensor that has only __array__, like those of PyTorch."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


@pytest.mark.parametrize(
    "array",
    [
        RGB,
        RGBA,
        RGB.transpose(2, 0, 1),
        RGBA.transpose(2, 0, 1),
        RGB.astype(np.uint16),
        RGB.astype(np.uint16) * 257,
        (RGB.astype(np.uint16) * 257).astype(">u2"),
        RGB.astype(np.int16),
        RGB.astype(np.int64),
        RGB.astype(np.uint64),
        RGB.astype(np.float32),
        UNIT,
        UNIT.astype(np.float32),
        UNIT.astype(np.longdouble),
        UNIT.transpose(2, 0, 1),
        np.asfortranarray(RGB),
        np.repeat(np.repeat(RGB, 2, axis=0), 2, axis=1)[::2, ::2],
        RGB[::-1, ::-1][::-1, ::-1],
        RGB[:, :, ::-1][:, :, ::-1],
        np.ma.masked_array(RGB),
        memoryview(RGB),
        Tensor(RGB),
        Tensor(UNIT.transpose(2, 0, 1)),
    ],
    ids=lambda array: f"{type(array).__name__}-{getattr(array, 'dtype', '')}",
)
def test_colour_arrays_are_encoded(array):
    assert np.array_equal(sent(array), RGB)


@pytest.mark.parametrize(
    "array",
    [
        GRAY,
        GRAY[:, :, np.newaxis],
        GRAY[np.newaxis],
        GRAY.astype(np.int32)[:, :, np.newaxis],
        GRAY.astype(np.float16),
        GRAY / 255,
        np.dstack([GRAY, np.full_like(GRAY, 255)]),
        memoryview(GRAY),
    ],
    ids=lambda array: str(array.shape),
)
def test_grey_arrays_are_encoded(array):
    assert np.array_equal(sent(array), np.dstack([GRAY] * 3))


def test_bool_array_is_black_and_white():
    mask = GRAY > 100
    assert np.array_equal(sent(mask)[:, :, 0], np.where(mask, 255, 0))


def test_read_only_array_is_encoded():
    array = RGB.copy()
    array.setflags(write=False)
    assert np.array_equal(sent(array), RGB)


def test_transparent_array_pixels_are_blended_with_white():
    assert (sent(np.dstack([RGB, np.zeros_like(GRAY)])) == 255).all()


def test_array_channel_order_is_rgb():
    red = np.zeros((24, 40, 3), np.uint8)
    red[:, :, 0] = 255
    assert tuple(sent(red)[0, 0]) == (255, 0, 0)


def changed(array, value):
    """Return a copy of the array as floats, with `value` in the first pixel."""
    copy = array.astype(np.float64)
    copy[0, 0, 0] = value
    return copy


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (changed(UNIT, np.nan), "NaN"),
        (changed(UNIT, np.inf), "infinite"),
        (changed(UNIT, -0.1), "from -0.1 to"),
        (changed(UNIT, 1.01), "to 1.01: scale and clip"),
        (changed(RGB, 256), "to 256: scale and clip"),
        (RGB.astype(np.int16) - 300, "from -"),
        (RGB.astype(np.int64) * 257, "or uint16 for 16-bit pixels"),
        (RGB.astype(np.complex64), "data type complex64"),
        (RGB.astype(object), "data type object"),
        (RGB.astype(str), "data type <U"),
        (RGB[np.newaxis], r"shape \(1, 24, 40, 3\) has several images"),
        (np.stack([RGB] * 7), "has several images"),
        (np.zeros((24, 40, 5), np.uint8), "is not an image"),
        (np.zeros(9, np.uint8), r"shape \(9,\) is not an image"),
        (np.uint8(9), r"shape \(\) is not an image"),
        (np.zeros((1, 2, 3, 4, 5), np.uint8), "is not an image"),
        (np.zeros((0, 5, 3), np.uint8), "empty: 5x0"),
        (np.zeros((5, 0), np.uint8), "empty: 0x5"),
        (Tensor(np.zeros(3)), "is not an image"),
        (Image.fromarray(RGB.astype(np.int32)[:, :, 0] - 300), "mode I contains integers from"),
        (Image.fromarray(changed(RGB, np.nan)[:, :, 0].astype(np.float32)), "mode F contains NaN"),
    ],
)
def test_invalid_array_raises_unreadable_image(array, message):
    with pytest.raises(emotions.UnreadableImage, match=message):
        read_image(array)


def test_failing_array_conversion_raises_unreadable_image():
    class OnAGpu:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("it is in the memory of a GPU")

    with pytest.raises(emotions.UnreadableImage, match="OnAGpu cannot be read as a NumPy array"):
        read_image(OnAGpu())


@pytest.mark.parametrize("wrong", [[[1, 2], [3, 4]], [RGB, RGB], (RGB,), 7, None, {}, object()])
def test_encode_raises_type_error_for_other_objects(wrong):
    with pytest.raises(TypeError, match="is not an image") as raised:
        read_image(wrong)
    assert isinstance(raised.value, emotions.EmotionError)


def test_message_without_pillow_names_package_extra(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "emotions.pixels")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(emotions.NotAnImage, match=r"emotions-client\[images\]"):
        read_image(RGB)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("beyond", [1e-7, 9e-4])
def test_rounding_errors_of_floats_are_clipped(kind, scale, beyond):
    exact = np.zeros((20, 30, 3), kind)
    exact[:, 10:] = scale
    rounded = exact.copy()
    rounded[0, 0], rounded[0, 10] = -beyond, scale + beyond
    assert np.array_equal(sent(rounded), sent(exact))


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("beyond", [2e-3, 0.5])
@pytest.mark.parametrize("is_below", [True, False])
def test_floats_beyond_rounding_errors_are_rejected(scale, beyond, is_below):
    array = np.zeros((20, 30, 3))
    array[:, 10:] = scale
    array[0, 0] = -beyond if is_below else scale + beyond
    with pytest.raises(emotions.UnreadableImage, match="scale and clip them"):
        pixels.encode(array)

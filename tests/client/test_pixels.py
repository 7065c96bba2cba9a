"""PIL images and arrays reach the service with the pixels, and upright, as their files do."""

import io

import emotions
import numpy as np
import pytest
from emotions import pixels
from emotions.sources import read_picture
from PIL import ExifTags, Image

from app.vision.image import ImageFile

RNG = np.random.default_rng(7)
# 40x24 pixels, no two of whose rotations and reflections are alike.
RGB = np.kron(RNG.integers(0, 256, (3, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
GRAY = RGB[:, :, 0]


def served(data):
    """(height, width, 3) RGB as the service reads a file."""
    return ImageFile(data, max_pixels=10**9).read(color=True).bgr[:, :, ::-1]


def sent(picture):
    """(height, width, 3) RGB as the service reads what the client sends."""
    return served(read_picture(picture)[1])


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
def test_an_image_is_turned_as_its_file_is(kind, orientation, loaded):
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(Image.fromarray(RGB), kind, exif=exif(orientation), **options)
    image = Image.open(io.BytesIO(file))
    if loaded:
        image.load()
    assert np.array_equal(sent(image), served(file))
    sides = (24, 40) if orientation < 5 else (40, 24)
    assert sent(image).shape[:2] == sides


def test_an_orientation_in_xmp_counts():
    file = saved(Image.fromarray(RGB), "WEBP", lossless=True, xmp=XMP)
    assert np.array_equal(sent(Image.open(io.BytesIO(file))), np.rot90(RGB, -1))


@pytest.mark.parametrize("change", ["convert", "copy", "resize"])
def test_an_orientation_survives_what_keeps_the_pixels_in_place(change):
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "PNG", exif=exif(6))))
    changed = {
        "convert": lambda: image.convert("RGBA"),
        "copy": image.copy,
        "resize": lambda: image.resize(image.size),
    }[change]()
    assert np.array_equal(sent(changed), np.rot90(RGB, -1))


def test_an_image_that_the_caller_turned_upright_is_not_turned_again():
    from PIL import ImageOps

    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "PNG", exif=exif(8))))
    upright = ImageOps.exif_transpose(image)
    assert np.array_equal(sent(upright), np.asarray(upright))


@pytest.mark.parametrize("value", [0, 9, 255, "6"])
def test_an_orientation_that_does_not_exist_is_ignored(value):
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


def test_the_callers_image_is_not_changed():
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
def test_an_image_of_any_mode_is_read_as_its_file_is(mode, kind):
    file = saved(in_mode(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(sent(Image.open(io.BytesIO(file))), served(file))


def in_mode(mode):
    image = Image.fromarray(RGB)
    if mode.startswith("I;16"):
        values = GRAY.astype(np.uint16) * 257
        return Image.frombytes(mode, (40, 24), values.astype(">u2" if "B" in mode else "<u2"))
    alpha = Image.fromarray(GRAY)
    if mode == "PA":  # Pillow's own conversion loses the alpha
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
def test_modes_with_alpha_that_no_file_has_are_laid_on_white(mode):
    expected = sent(in_mode("LA" if mode in ("La", "PA") else "RGBA"))
    assert np.abs(sent(in_mode(mode)).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "RGBX"])
def test_modes_of_other_colours_are_read_as_rgb(mode):
    assert np.abs(sent(in_mode(mode)).astype(int) - RGB).max() <= 12


@pytest.mark.parametrize(
    ("mode", "scale"),
    [("F", 1), ("I", 1), *((mode, 257) for mode in ("I", "I;16", "I;16L", "I;16B", "I;16N"))],
)
def test_grey_of_more_than_8_bits_keeps_its_scale(mode, scale):
    values = GRAY.astype(np.int64) * scale
    form = {"I": "i4", "F": "f4", "I;16N": "u2", "I;16B": ">u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (40, 24), values.astype(form).tobytes())
    assert np.array_equal(sent(image)[:, :, 0], GRAY)


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255])])
def test_transparent_colours_of_a_palette_are_laid_on_white(transparency):
    image = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    file = saved(image, "PNG", transparency=transparency)
    read = sent(Image.open(io.BytesIO(file)))
    assert np.array_equal(read, served(file))
    assert (read == 255).all(axis=2).any()


@pytest.mark.parametrize(("mode", "color"), [("L", 255), ("RGB", (1, 2, 3)), ("1", 255)])
def test_a_transparent_colour_is_laid_on_white(mode, color):
    image = Image.new(mode, (40, 24), color)
    image.info["transparency"] = color
    assert (sent(image) == 255).all()


def test_frames_the_first_one_or_the_one_that_was_sought(tmp_path):
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
    _, data = read_picture(image)
    assert list(Image.open(io.BytesIO(data)).info) == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF"])
def test_a_truncated_image_is_refused(kind):
    noise = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), np.uint8))
    file = saved(noise, kind)
    cut = Image.open(io.BytesIO(file[: len(file) * 2 // 3]))
    with pytest.raises(emotions.UnreadablePicture, match="the image cannot be read"):
        read_picture(cut)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_closed_image_is_refused(loaded):
    image = Image.open(io.BytesIO(saved(Image.fromarray(RGB), "JPEG")))
    if loaded:
        image.load()
    image.close()
    with pytest.raises(emotions.UnreadablePicture, match="the image cannot be read"):
        read_picture(image)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_an_image_without_pixels_is_refused(size):
    with pytest.raises(emotions.UnreadablePicture, match=f"empty: {size[0]}x{size[1]}"):
        read_picture(Image.new("RGB", size))


def test_an_image_that_no_service_takes_is_refused_before_it_is_encoded():
    huge = np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))  # takes no memory
    with pytest.raises(emotions.UnreadablePicture, match="100000x100000"):
        read_picture(huge)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_png_that_is_too_large_becomes_a_jpeg(monkeypatch, mode):
    monkeypatch.setattr(pixels, "MAX_PNG_BYTES", 100)
    image = in_mode(mode)
    name, data = read_picture(image)
    assert (name, data[:3]) == ("picture.jpg", b"\xff\xd8\xff")
    expected = served(saved(image, "PNG")).astype(int)
    assert np.abs(served(data) - expected).max() <= 40
    assert np.abs(served(data) - expected).mean() < 3


# ---------------------------------------------------------------- arrays

RGBA = np.dstack([RGB, np.full_like(GRAY, 255)])
UNIT = RGB.astype(np.float64) / 255


class Tensor:
    """As PyTorch's: an array by __array__ only."""

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
def test_arrays_of_colours(array):
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
def test_arrays_of_grey(array):
    assert np.array_equal(sent(array), np.dstack([GRAY] * 3))


def test_an_array_of_truth_values_is_black_and_white():
    mask = GRAY > 100
    assert np.array_equal(sent(mask)[:, :, 0], np.where(mask, 255, 0))


def test_an_array_that_must_not_be_written_to_is_read():
    array = RGB.copy()
    array.setflags(write=False)
    assert np.array_equal(sent(array), RGB)


def test_transparent_pixels_of_an_array_are_laid_on_white():
    assert (sent(np.dstack([RGB, np.zeros_like(GRAY)])) == 255).all()


def test_red_comes_first():
    red = np.zeros((24, 40, 3), np.uint8)
    red[:, :, 0] = 255
    assert tuple(sent(red)[0, 0]) == (255, 0, 0)


def changed(array, value):
    made = array.astype(np.float64)
    made[0, 0, 0] = value
    return made


@pytest.mark.parametrize(
    ("array", "said"),
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
        (RGB[np.newaxis], r"shape \(1, 24, 40, 3\) holds several images"),
        (np.stack([RGB] * 7), "holds several images"),
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
def test_an_array_without_a_clear_meaning_is_refused(array, said):
    with pytest.raises(emotions.UnreadablePicture, match=said):
        read_picture(array)


def test_an_array_that_cannot_be_made_is_refused():
    class OnAGpu:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("it is in the memory of a GPU")

    with pytest.raises(emotions.UnreadablePicture, match="OnAGpu cannot be read as a NumPy array"):
        read_picture(OnAGpu())


@pytest.mark.parametrize("wrong", [[[1, 2], [3, 4]], [RGB, RGB], (RGB,), 7, None, {}, object()])
def test_another_object_is_refused_as_a_mistake_of_the_program(wrong):
    with pytest.raises(TypeError, match="is not an image") as raised:
        read_picture(wrong)
    assert isinstance(raised.value, emotions.EmotionError)


def test_without_pillow_it_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "emotions.pixels")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(emotions.NotAnImage, match=r"emotions-client\[images\]"):
        read_picture(RGB)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("beyond", [1e-7, 9e-4])
def test_the_rounding_of_resampled_floats_is_clipped(kind, scale, beyond):
    exact = np.zeros((20, 30, 3), kind)
    exact[:, 10:] = scale
    rounded = exact.copy()
    rounded[0, 0], rounded[0, 10] = -beyond, scale + beyond
    assert np.array_equal(sent(rounded), sent(exact))


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("beyond", [2e-3, 0.5])
@pytest.mark.parametrize("is_below", [True, False])
def test_floats_beyond_rounding_are_refused(scale, beyond, is_below):
    array = np.zeros((20, 30, 3))
    array[:, 10:] = scale
    array[0, 0] = -beyond if is_below else scale + beyond
    with pytest.raises(emotions.UnreadablePicture, match="scale and clip them"):
        pixels.encode(array)

"""Encoding of PIL images: pixels and orientation are the same as those of files."""

import io

import emotions
import numpy as np
import pytest
from emotions import pixels
from emotions.sources import read_image
from PIL import ExifTags, Image

from tests.client.pixels import GRAY, RGB, RNG, sent, served


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


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_large_png_is_replaced_by_jpeg(monkeypatch, mode):
    monkeypatch.setattr(pixels, "MAX_PNG_BYTES", 100)
    image = in_mode(mode)
    name, data = read_image(image)
    assert (name, data[:3]) == ("picture.jpg", b"\xff\xd8\xff")
    expected = served(saved(image, "PNG")).astype(int)
    assert np.abs(served(data) - expected).max() <= 40
    assert np.abs(served(data) - expected).mean() < 3

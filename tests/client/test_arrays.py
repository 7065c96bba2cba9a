"""Encoding of arrays and tensors, and objects that are not images."""

import emotions
import numpy as np
import pytest
from emotions import pixels
from emotions.sources import read_image
from PIL import Image

from tests.client.pixels import GRAY, RGB, sent


def test_huge_image_is_rejected_before_encoding():
    huge = np.broadcast_to(np.uint8(0), (100_000, 100_000, 3))  # takes no memory
    with pytest.raises(emotions.UnreadableImage, match="100000x100000"):
        read_image(huge)


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

"""The image of all variants, and functions that pack its pixels."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 40, 24


@dataclass(frozen=True)
class Variant:
    """A file and its expected pixels (height, width, 3), RGB.

    `tolerance` is the allowed mean error in grey levels, for lossy compression. `supported` says
    whether this service reads the file.
    """

    format: str
    name: str
    data: bytes
    expected: Pixels
    tolerance: float = 1.0
    supported: bool = True


def color_image() -> Pixels:
    """Red increases to the right, green downwards, and blue decreases to the right."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    red, green = across * 255 // (WIDTH - 1), down * 255 // (HEIGHT - 1)
    return uint8(np.dstack([red, green, 255 - red]))


def gray_image() -> Pixels:
    """A gradient (height, width) that increases to the right and downwards."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    return uint8(across * 200 // (WIDTH - 1) + down * 55 // (HEIGHT - 1))


def uint8(values: Any) -> Pixels:
    return np.asarray(values).astype(np.uint8)


def quantized(values: Pixels, bits: int) -> NDArray[np.int64]:
    """Convert levels of 0 to 255 to numbers of `bits` bits."""
    return np.asarray(np.rint(values.astype(np.int64) * (2**bits - 1) / 255), np.int64)


def to_rgb(numbers: NDArray[np.int64], bits: int) -> Pixels:
    """Convert numbers of `bits` bits, (height, width) or (height, width, 3), to 8-bit RGB."""
    levels = np.rint(numbers * 255 / (2**bits - 1)).astype(np.uint8)
    return np.dstack([levels] * 3) if levels.ndim == 2 else levels


def on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Composite pixels on white."""
    share = alpha[..., None] / 255
    return np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)


def alpha_channel() -> Pixels:
    return np.tile(np.linspace(0, 255, HEIGHT).astype(np.uint8)[:, None], (1, WIDTH))


def stored_pixels(upright: Pixels, orientation: int) -> Pixels:
    """The pixels that a camera stores for an upright image and an EXIF orientation."""
    by_orientation = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: np.swapaxes(upright, 0, 1),
        6: np.rot90(upright, 1),
        7: np.swapaxes(np.rot90(upright, 2), 0, 1),
        8: np.rot90(upright, 3),
    }
    return np.ascontiguousarray(by_orientation[orientation])


def packed_rows(numbers: NDArray[np.int64], bits: int, order: str = ">") -> list[bytes]:
    """Pack rows of (height, values) to bytes. Below 16 bits the most significant bit is first."""
    if bits in (16, 32):
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in numbers]
    planes = (numbers[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in planes]


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.copy().save(data, kind, **options)
    return data.getvalue()


def exif_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def xmp_packet(orientation: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        b'tiff:Orientation="' + f'{orientation}"/></rdf:RDF></x:xmpmeta>'.encode()
    )


def cmyk_of(rgb: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(rgb).convert("CMYK"))


def cmyk_rgb(cmyk: Pixels) -> Pixels:
    ink = 1 - cmyk.astype(float) / 255
    return np.rint(255 * ink[..., :3] * ink[..., 3:]).astype(np.uint8)

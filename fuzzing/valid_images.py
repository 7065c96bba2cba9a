"""Small valid images of every type, mode and compression that the service reads."""

import io
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from app.settings import ROOT
from testbed.image_writers import run_length_bmp, tiled_tiff

PHOTOGRAPH = ROOT / "docs" / "astronaut.jpg"


@cache
def valid_images() -> tuple[bytes, ...]:
    """Small synthetic images of every supported type, mode and compression, and crops of a
    photograph."""
    across, down = np.meshgrid(np.arange(48), np.arange(32))
    drawn = Image.fromarray(np.stack([across * 5, down * 7, across ^ down], 2).astype(np.uint8))
    photograph = Image.open(PHOTOGRAPH)
    face = photograph.crop((170, 50, 290, 170))
    deep = Image.fromarray(np.asarray(drawn.convert("L")).astype(np.uint16) * 257)
    palette = drawn.quantize(16)
    more = (drawn.rotate(90), drawn.rotate(180))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    alpha = drawn.copy()
    alpha.putalpha(128)
    files = [
        PHOTOGRAPH.read_bytes(),
        _file(face, "JPEG"),
        _file(face, "JPEG", progressive=True, exif=exif, comment="drawn"),
        _file(face, "JPEG", restart_marker_blocks=4, icc_profile=bytes(300)),
        _file(drawn.convert("L"), "JPEG"),
        _file(drawn.convert("CMYK"), "JPEG", exif=exif),
        _file(drawn, "MPO", more=more),
        _file(drawn, "PNG", exif=exif),
        _file(alpha, "PNG", icc_profile=bytes(300)),
        _file(palette, "PNG", transparency=3, bits=4),
        _file(deep, "PNG"),
        _file(drawn.convert("1"), "PNG"),
        _file(drawn, "PNG", more=more),
        _file(face, "WEBP"),
        _file(alpha, "WEBP", exif=exif),
        _file(drawn, "WEBP", lossless=True),
        _file(drawn, "WEBP", more=more),
        _file(drawn, "BMP"),
        _file(palette, "BMP"),
        _file(drawn.convert("1"), "BMP"),
        run_length_bmp(bytes([12, 3, 0, 4, 1, 2, 3, 4, 0, 0, 16, 9, 0, 0] * 8 + [0, 1])),
        *(
            _file(drawn, "TIFF", compression=compression)
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
        _file(drawn.convert("CMYK"), "TIFF", exif=exif),
        _file(deep, "TIFF"),
        _file(drawn, "TIFF", compression="tiff_lzw", big_tiff=True),
        _file(drawn, "TIFF", more=more),
        tiled_tiff(drawn),
        _file(palette, "GIF"),
        _file(palette, "GIF", transparency=2, comment=b"drawn", interlace=1),
        _file(drawn, "GIF", more=more, loop=0),
        *_heif_files(drawn, alpha, more),
    ]
    return tuple(files)


def _heif_files(
    drawn: Image.Image, alpha: Image.Image, more: tuple[Image.Image, ...]
) -> list[bytes]:
    files = [_file(image, "AVIF") for image in (drawn, alpha, drawn.convert("L"))]
    files.append(_file(drawn, "AVIF", more=more))
    for images, options in (
        ((drawn,), {}),
        ((alpha,), {}),
        ((drawn.convert("L"), *more), {}),
        ((drawn.resize((96, 64)),), {"tile_size": 64}),
    ):
        file = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
        for image in images:
            file.add_from_pillow(image)
        data = io.BytesIO()
        file.save(data, **options)
        files.append(data.getvalue())
    return files


def _file(
    image: Image.Image, kind: str, more: tuple[Image.Image, ...] = (), **options: Any
) -> bytes:
    data = io.BytesIO()
    if more:
        options |= {"save_all": True, "append_images": [frame.copy() for frame in more]}
    image.copy().save(data, kind, **options)  # a copy, because Pillow stores options in the image
    return data.getvalue()

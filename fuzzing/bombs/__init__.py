"""Small files that are designed to be expensive to decode, by name.

`python -m fuzzing.bombs` prints the cost of decoding each of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image

from fuzzing.bombs import heifs, long_work, sizes, tiffs
from fuzzing.bombs.files import encoded
from testbed.image_writers import run_length_bmp

MAX_MILLISECONDS = 50  # of CPU time, on the machine of the recorded measurements
MAX_MEGABYTES = 50
HEAD = ["image", "bytes", "result", "ms of CPU", "MB"]  # of the tables

BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG 30000x30000": sizes.png_30000,
    "JPEG 65500x65500": sizes.jpeg_65500,
    "GIF 65535x65535": sizes.gif_canvas,
    "GIF frame 65535x65535": sizes.gif_frame_beyond_canvas,
    "WebP 16383x16383": sizes.webp_plain,
    "WebP animation 16384x16384": sizes.webp_canvas,
    "BMP 2147483647x2147483647": sizes.bmp_huge,
    "TIFF 30000x30000": sizes.tiff_huge,
    "TIFF tile 30000x30000, deflate": lambda: tiffs.tiff_huge_tile(8),
    "TIFF tile 30000x30000, plain": lambda: tiffs.tiff_huge_tile(1),
    "TIFF strip of 9,000,000 rows": tiffs.tiff_huge_strip,
    "TIFF 2,000,000,000 strips": lambda: tiffs.tiff_strips(2_000_000_000, 1, with_offsets=False),
    "TIFF 3,500,000 strips, plain": lambda: tiffs.tiff_strips(3_500_000, 1, with_offsets=True),
    "TIFF 3,500,000 strips, deflate": lambda: tiffs.tiff_strips(3_500_000, 8, with_offsets=True),
    "TIFF 12,000 tags, each 15 MB": tiffs.tiff_overlapping_tags,
    "TIFF 64,000 tags": tiffs.tiff_many_tags,
    "TIFF, 830,000 directories": tiffs.tiff_pages,
    "TIFF, EXIF of 3,500,000 numbers": tiffs.tiff_exif_numbers,
    "TIFF fax, 50,000,000 rows": tiffs.tiff_fax,
    "APNG, 1,000 frames": lambda: long_work.animation("PNG"),
    "GIF, 1,000 frames": lambda: long_work.animation("GIF"),
    "WebP, 1,000 frames": lambda: long_work.animation("WEBP", method=0),
    "WebP, 150,000 frames": sizes.webp_frames,
    "TIFF, 1,000 pages": lambda: long_work.animation("TIFF"),
    "MPO, 1,000 images": lambda: long_work.animation("MPO"),
    "JPEG, 5,000 scans": lambda: long_work.jpeg_scans(5000),
    "JPEG, 3,700,000 comments": long_work.jpeg_comments,
    "JPEG, 15 MB of zeros": long_work.jpeg_junk,
    "JPEG, EXIF of 5,000 tags, each 7 MB": long_work.jpeg_exif,
    "JPEG, EXIF of 3,600,000 numbers": long_work.jpeg_exif_numbers,
    "PNG, 1,200,000 chunks": long_work.png_chunks,
    "PNG, 1,200,000 empty pixel chunks": long_work.png_pixel_chunks,
    "PNG, 60 MB of text": long_work.png_text,
    "PNG, 60 MB of text in emoji": lambda: long_work.png_text("\N{GRINNING FACE}"),
    "PNG, 900 MB of colour profile": long_work.png_profile,
    "GIF, 15 MB of zeros": long_work.gif_junk,
    "GIF, 7,500,000 comment blocks": long_work.gif_comments,
    "GIF, 5,000,000 extensions": long_work.gif_extensions,
    "BMP, 7,500,000 runs": long_work.bmp_runs,
    **heifs.heif_bombs(),
}

# Valid images with the maximum number of pixels, for comparison.
SIDE = 7000
LARGEST: dict[str, Callable[[], bytes]] = {
    "JPEG, colours": lambda: _plain("RGB", "JPEG"),
    "JPEG, colours, progressive": lambda: _plain("RGB", "JPEG", progressive=True),
    "JPEG, grey, 45 scans": lambda: long_work.jpeg_scans(40),  # and 5 that Pillow writes
    "PNG, colours": lambda: _plain("RGB", "PNG"),
    "PNG, colours and transparency": lambda: _plain("RGBA", "PNG"),
    "PNG, grey, 16 bits": lambda: _plain("I;16", "PNG"),
    "WebP, colours": lambda: _plain("RGB", "WEBP", method=0),
    "GIF": lambda: _plain("P", "GIF"),
    "BMP, run-length encoded": lambda: run_length_bmp(b"\0\2\xff\xff" * 28, SIDE, SIDE),
    "HEIC, tiles": partial(heifs.heif_tiles, "HEIF", count=14, tile=500, side=SIDE),
    "AVIF, tiles": partial(heifs.heif_tiles, "AVIF", count=14, tile=500, side=SIDE, items=196),
    "TIFF, colours, deflate": lambda: _plain("RGB", "TIFF", compression="tiff_adobe_deflate"),
}


def _plain(mode: str, kind: str, **options: Any) -> bytes:
    return encoded(Image.new(mode, (SIDE, SIDE)), kind, **options)

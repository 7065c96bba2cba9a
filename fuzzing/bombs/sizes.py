"""Images that claim or have more pixels than allowed."""

import struct

from PIL import Image

from fuzzing.bombs.files import (
    END,
    deflated_zeros,
    encoded,
    filled,
    gif_frame,
    gray_tiff,
)
from testbed.image_writers import png, png_chunk, run_length_bmp


def png_30000() -> bytes:
    """900 megapixels, whole and right, in half a megabyte."""
    rows = png_chunk(b"IDAT", deflated_zeros(30_000 * 3_751))
    return png(30_000, 30_000, rows + END, bits=1, color=0)


def gif_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + gif_frame(1, 1)


def gif_frame_beyond_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + gif_frame(65535, 65535)


def webp_canvas() -> bytes:
    """An animation that says that its canvas has 16384x16384 pixels, the most there can be."""
    frames = (Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue"))
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    data[24:30] = (16383).to_bytes(3, "little") * 2
    return bytes(data)


def webp_plain() -> bytes:
    """Lossless, which has the size in the 28 bits behind a mark."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    data[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")
    return bytes(data)


def webp_frames() -> bytes:
    """As many frames of a pixel as fit."""
    frames = (Image.new("RGB", (1, 1), "red"), Image.new("RGB", (1, 1), "blue"))
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    frame = data[data.rindex(b"ANMF") :]
    made = bytearray(filled(data, frame))
    made[4:8] = struct.pack("<I", len(made) - 8)
    return bytes(made)


def jpeg_65500() -> bytes:
    data = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def bmp_huge() -> bytes:
    return run_length_bmp(b"", 2**31 - 1, 2**31 - 1)


def tiff_huge() -> bytes:
    return gray_tiff(30_000, 30_000, (273, 4, 1, 8), (279, 4, 1, 8))

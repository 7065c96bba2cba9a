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
    """A valid PNG file with 900 megapixels in half a megabyte."""
    rows = png_chunk(b"IDAT", deflated_zeros(30_000 * 3_751))
    return png(30_000, 30_000, rows + END, bits=1, color=0)


def gif_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + gif_frame(1, 1)


def gif_frame_beyond_canvas() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + gif_frame(65535, 65535)


def webp_canvas() -> bytes:
    """An animation that claims a canvas of 16384x16384 pixels, the maximum of the format."""
    frames = (Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue"))
    data = bytearray(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    data[24:30] = (16383).to_bytes(3, "little") * 2
    return bytes(data)


def webp_plain() -> bytes:
    """A lossless file, which has the size in the 28 bits after the signature."""
    data = bytearray(encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True))
    data[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")
    return bytes(data)


def webp_frames() -> bytes:
    """As many frames with one pixel as the size limit allows."""
    frames = (Image.new("RGB", (1, 1), "red"), Image.new("RGB", (1, 1), "blue"))
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    frame = data[data.rindex(b"ANMF") :]
    result = bytearray(filled(data, frame))
    result[4:8] = struct.pack("<I", len(result) - 8)
    return bytes(result)


def jpeg_65500() -> bytes:
    data = bytearray(encoded(Image.new("L", (8, 8)), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


def bmp_huge() -> bytes:
    return run_length_bmp(b"", 2**31 - 1, 2**31 - 1)


def tiff_huge() -> bytes:
    return gray_tiff(30_000, 30_000, (273, 4, 1, 8), (279, 4, 1, 8))

"""Checks the structure of a file before Pillow decodes it.

Small files can be expensive to decode: a progressive JPEG of 50 kB may have five thousand scans of
50 megapixels, and a TIFF of 15 MB may have millions of strips, each of which becomes a Python
object. The size check does not detect such files. Cameras and image programs do not write them.

Each module reads one format. The checks raise ValueError with the reason. A function that raises
another error says so in its docstring. See docs/internals/file-structure.md.
"""

from app.vision.structure.exif import exif_orientation
from app.vision.structure.jpeg import JpegScan, check_jpeg, jpeg_frame, jpeg_scans
from app.vision.structure.limited_file import ReadLimitedFile
from app.vision.structure.tiff import Order, check_tiff, tiff_entries
from app.vision.structure.webp import check_webp

__all__ = [
    "JpegScan",
    "Order",
    "ReadLimitedFile",
    "check_jpeg",
    "check_tiff",
    "check_webp",
    "exif_orientation",
    "jpeg_frame",
    "jpeg_scans",
    "tiff_entries",
]

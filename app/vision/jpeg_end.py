"""Decides whether the scans of a JPEG are complete, with or without an end marker.

Some cameras (Samsung's panoramas) write a trailer in the place of the end marker, and some programs
write nothing. Pillow calls such files truncated even if their scans are complete. In the opposite
case, an end marker follows a scan that was cut off: libjpeg fills the missing pixels with grey.

To find out, the file is decoded twice, with different bytes after the last scan. The scans are
complete if the pixels are the same, because then no pixel depends on these bytes.
"""

import io
import re
import zlib
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from app.vision.structure import JpegScan, jpeg_scans

_END = b"\xff\xd9"
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_PADDINGS = (bytes(64), b"\x55" * 64)
_SAMSUNG_END, _SAMSUNG_HEAD = b"SEFT", b"SEFH"
_ENTRY = 12  # bytes of an entry in Samsung's directory


def has_end(data: bytes) -> bool:
    """Whether an end marker follows the scans."""
    # Most files end with it. The search for markers would read all pixel data.
    return data.endswith(_END) or jpeg_scans(_without_samsung_trailer(data))[1]


def completed_jpeg(data: bytes) -> bytes | None:
    """Return `data` up to the end of its last scan, with an end marker, or None if the scans are
    incomplete. Raises what Pillow raises."""
    scans, _ = jpeg_scans(_without_samsung_trailer(data))
    if not scans or not _are_refined(scans):
        return None
    body = data[: scans[-1].end].rstrip(b"\xff")
    first, second = (_decoded(body + padding + _END) for padding in _PADDINGS)
    # After a missing restart marker libjpeg writes grey without reading further.
    grey = first.ends_in_grey and _RESTART.search(body) is not None
    return body + _END if first == second and not grey else None


def ends_in_grey(image: Image.Image) -> bool:
    """Whether the last pixels have the grey that libjpeg writes for missing data."""
    width, height = image.size
    corner = image.crop((max(0, width - 2), max(0, height - 2), width, height))
    return corner.getextrema() in ((128, 128), ((128, 128),) * 3)


@dataclass(frozen=True)
class _Decoded:
    checksum: int
    ends_in_grey: bool


def _decoded(data: bytes) -> _Decoded:
    """Raises what Pillow raises."""
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        return _Decoded(zlib.crc32(image.tobytes()), ends_in_grey(image))


def _are_refined(scans: list[JpegScan]) -> bool:
    """Whether the scans contain all bits of every coefficient. A progressive JPEG that was cut off
    between two scans lacks some."""
    missing: dict[tuple[int, int], int] = {}
    for scan in scans:
        for component in scan.components:
            for coefficient in range(scan.first, min(scan.last, 63) + 1):
                missing[component, coefficient] = scan.low_bit
    components = {component for component, _ in missing}
    return all(
        missing.get((component, coefficient), 1) == 0
        for component in components
        for coefficient in range(64)
    )


def _without_samsung_trailer(data: bytes) -> bytes:
    """Return `data` without Samsung's trailer: blocks, then a directory, SEFH … length SEFT."""
    if not data.endswith(_SAMSUNG_END):
        return data
    head = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    if head < 0 or data[head : head + 4] != _SAMSUNG_HEAD:
        return data
    count = min(int.from_bytes(data[head + 8 : head + 12], "little"), 1_000)
    starts = [head]
    for at in range(head + 12, head + 12 + _ENTRY * count, _ENTRY):
        starts.append(head - int.from_bytes(data[at + 4 : at + 8], "little"))
    return data[: min(starts)] if min(starts) > 0 else data

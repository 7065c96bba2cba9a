"""Determines whether the scans of a JPEG are complete, with or without an end marker.

Some files end without an end marker although the scans are complete: Samsung panoramas have a
trailer instead, and some programs write nothing. Pillow reports such files as truncated. Other
files have an end marker after a truncated scan, and libjpeg fills the missing pixels with grey.

The module decodes the file twice, each time with different bytes appended to the last scan. If the
pixels are equal, no pixel depends on these bytes, so the scans are complete. If the
last scan has restart markers, their number must also be correct, because libjpeg stops reading at a
missing restart marker.
"""

import io
import math
import re
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from app.vision.structure import JpegScan, jpeg_frame, jpeg_scans

_END = b"\xff\xd9"
_ARITHMETIC = (0xC9, 0xCA)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_PADDINGS = (bytes(64), b"\x55" * 64)
_SAMSUNG_END, _SAMSUNG_HEAD = b"SEFT", b"SEFH"
_ENTRY = 12  # size in bytes of an entry of Samsung's directory


def has_end_marker(data: bytes) -> bool:
    """Return whether an end marker follows the scans."""
    # Most files end with the marker. The search for markers reads all pixel data.
    return data.endswith(_END) or jpeg_scans(_without_samsung_trailer(data))[1]


def completed_jpeg(data: bytes) -> bytes | None:
    """Return the file up to the end of the last scan, with an end marker; None if the scans are
    incomplete. Raises the errors of Pillow."""
    scans, _ = jpeg_scans(_without_samsung_trailer(data))
    if not scans or not _have_all_bits(scans):
        return None
    body = data[: scans[-1].end].rstrip(b"\xff")
    return body + _END if _is_complete(body, scans[-1]) else None


def has_truncated_scan(data: bytes) -> bool:
    """Return whether the last scan of a JPEG is truncated.

    Call it only for a file that has an end marker (`has_end_marker`) and grey pixels in the last
    corner (`ends_in_grey`). Returns False if this cannot be determined. Raises the errors of
    Pillow.
    """
    scans, _ = jpeg_scans(_without_samsung_trailer(data))
    # Arithmetic coding omits zeros at the end, so the pixels may depend on the bytes
    # after the scan.
    if not scans or jpeg_frame(data)[0] in _ARITHMETIC:
        return False
    return not _is_complete(data[: scans[-1].end].rstrip(b"\xff"), scans[-1])


def ends_in_grey(image: Image.Image) -> bool:
    """Return whether the last pixels have the grey that libjpeg writes for missing data."""
    width, height = image.size
    corner = image.crop((max(0, width - 2), max(0, height - 2), width, height))
    if image.mode == "CMYK":  # may be stored inverted: 255 - 128 is 127
        return all(band.getextrema() in ((127, 127), (128, 128)) for band in corner.split())
    return corner.getextrema() in ((128, 128), ((128, 128),) * 3)


def _is_complete(body: bytes, last: JpegScan) -> bool:
    """Return whether the last scan is complete. `body` is the file up to the end of this scan.
    Raises the errors of Pillow."""
    first, second = (_decoded(body + padding + _END) for padding in _PADDINGS)
    if first != second:
        return False
    has_gap = first.ends_in_grey and _lacks_restart_markers(body, last)
    return not has_gap


def _lacks_restart_markers(body: bytes, scan: JpegScan) -> bool:
    """Return whether a scan has fewer restart markers than the size and the interval require."""
    if not scan.restart_interval:
        return False
    _, frame = jpeg_frame(body)
    height, width = struct.unpack(">HH", frame[1:5])
    sampling = {frame[at]: divmod(frame[at + 1], 16) for at in range(6, 6 + 3 * frame[5], 3)}
    max_x, max_y = (max(factors) for factors in zip(*sampling.values(), strict=True))
    if len(scan.components) == 1:  # the MCUs are the blocks of this component, without padding
        x, y = sampling[scan.components[0]]
        width, height = math.ceil(width * x / max_x), math.ceil(height * y / max_y)
        max_x = max_y = 1
    mcus = math.ceil(width / (8 * max_x)) * math.ceil(height / (8 * max_y))
    needed: int = (mcus - 1) // scan.restart_interval
    return len(_RESTART.findall(body, scan.start)) < needed


@dataclass(frozen=True)
class _Decoded:
    checksum: int
    ends_in_grey: bool


def _decoded(data: bytes) -> _Decoded:
    """Decode a JPEG. Raises the errors of Pillow."""
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        return _Decoded(zlib.crc32(image.tobytes()), ends_in_grey(image))


def _have_all_bits(scans: list[JpegScan]) -> bool:
    """Return whether the scans contain all bits of every coefficient. A progressive JPEG that was
    cut between two scans lacks some bits."""
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
    """Remove a trailer of Samsung cameras: blocks and then a directory, SEFH … length SEFT."""
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

"""Reads the orientation in an EXIF block, which has the structure of a TIFF."""

from app.vision.structure.tiff import MAX_TAGS, Order, tiff_entries

_ORIENTATION, _SHORT = 0x0112, 3


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation in an EXIF block, 1 to 8; None if there is no valid orientation. Reads
    nothing else of the block and raises no errors."""
    block = exif.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Order = "little" if block[:2] == b"II" else "big"
    try:
        entries = tiff_entries(
            block, int.from_bytes(block[4:8], order), order, big=False, max_entries=MAX_TAGS
        )
    except ValueError:
        return None
    for tag, kind, count, value in entries:
        if tag != _ORIENTATION or (count != 1 and (kind, count) != (_SHORT, 2)):
            continue
        # Some programs write two numbers. The first number is at the lower address.
        first = value if count == 1 else value & 0xFFFF if order == "little" else value >> 16
        return first if 1 <= first <= 8 else None
    return None

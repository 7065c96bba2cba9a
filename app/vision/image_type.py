"""Detects the type of an image file from its first bytes. Name and Content-Type are ignored."""

from app.errors import NoImage, UnsupportedImageType

IMAGE_TYPES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF")

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_NEUTRAL_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}


def image_type(data: bytes) -> str:
    """Return the type of an image file, one of IMAGE_TYPES.

    Raises NoImage for an empty file, and UnsupportedImageType for other content.
    """
    if not data:
        raise NoImage("the image is empty (0 bytes)")
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if (kind := _heif_type(data)) is not None:
        return kind
    supported = ", ".join(IMAGE_TYPES)
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace").strip()
        raise UnsupportedImageType(
            f"the content is a video or another ISO media file (brand {brand!r}), not an image of "
            f"a supported type ({supported})"
        )
    raise UnsupportedImageType(f"the content is not an image of a supported type ({supported})")


def _heif_type(data: bytes) -> str | None:
    """Return "HEIF" or "AVIF" for a file that starts with an ftyp box of a HEIF or AVIF brand.
    Returns None for other content, such as videos."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), 1_024)
    brands = [data[at : at + 4] for at in (8, *range(16, end - 3, 4))]
    if brands[0] not in _HEIF_BRANDS | _AVIF_BRANDS | _NEUTRAL_BRANDS:
        return None
    for brand in brands:  # the major brand comes first
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIF_BRANDS:
            return "HEIF"
    return "HEIF" if brands[0] in _NEUTRAL_BRANDS else None

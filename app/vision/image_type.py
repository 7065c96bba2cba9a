"""Detects the type of an image file from its first bytes. Name and Content-Type are ignored."""

from app.errors import NoImage, UnsupportedImageType
from app.vision.heif import heif_type

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
    if (kind := heif_type(data)) is not None:
        return kind
    supported = ", ".join(IMAGE_TYPES)
    if data[4:8] == b"ftyp":
        brand = data[8:12].decode("ascii", "replace").strip()
        raise UnsupportedImageType(
            f"the content is a video or another ISO media file (brand {brand!r}), not an image of "
            f"a supported type ({supported})"
        )
    raise UnsupportedImageType(f"the content is not an image of a supported type ({supported})")

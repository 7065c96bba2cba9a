"""Checks the structure of a WebP file."""

MAX_CHUNKS = 10_000  # maximum number of chunks


def check_webp(data: bytes) -> None:
    """Limit the chunks of a WebP. Each frame of an animation is a chunk, and libwebp reads all
    chunks before it decodes the first frame."""
    at = 12
    for _ in range(MAX_CHUNKS):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
        if at >= len(data):
            return
    raise ValueError(f"more than {MAX_CHUNKS:,} chunks")

"""Small images in every variant of every format that this service reads, with the pixels they mean.

Each variant is the same picture, two slopes of colour, as the depth and the colours of the variant
can show it. Variants that libraries do not write (bit depths, byte orders, headers, layouts) are
written here, so the expected pixels do not depend on a decoder.
"""

from evaluation.variants.common import Variant
from evaluation.variants.palettes import bmps, gifs
from evaluation.variants.photographs import heifs, jpegs, webps
from evaluation.variants.png import pngs
from evaluation.variants.tiff import tiffs

__all__ = ["Variant", "variants"]


def variants() -> list[Variant]:
    """All of them, by format."""
    return [*pngs(), *jpegs(), *webps(), *gifs(), *bmps(), *tiffs(), *heifs()]

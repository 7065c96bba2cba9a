"""Small files in every variant of every image format that this service reads.

Every variant has the same image, two colour gradients, in the bit depth and colours of the variant,
and the expected pixels. Libraries cannot write some variants (bit depths, byte orders, headers,
layouts); this package writes them without a library. The expected pixels do not depend on a
decoder.
"""

from evaluation.variants.common import Variant
from evaluation.variants.lossy import heifs, jpegs, webps
from evaluation.variants.palettes import bmps, gifs
from evaluation.variants.png import pngs
from evaluation.variants.tiff import tiffs

__all__ = ["Variant", "variants"]


def variants() -> list[Variant]:
    """All variants, ordered by format."""
    return [*pngs(), *jpegs(), *webps(), *gifs(), *bmps(), *tiffs(), *heifs()]

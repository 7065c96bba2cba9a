"""Every variant of every format is read right or refused as not supported, never read wrongly."""

import re
from functools import cache

import numpy as np
import pytest

from evaluation import formats
from evaluation.formats import REFUSED, RIGHT, UNSUPPORTED, Comparison, judged
from evaluation.variants import Variant, variants

FORMATS = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")


@cache
def all_variants():
    return variants()


def test_there_are_enough_of_them():
    found = all_variants()
    assert len(found) >= 400
    assert len({(it.format, it.name) for it in found}) == len(found)
    assert {it.format for it in found} == set(FORMATS)
    assert sum(it.supported for it in found) > 0.9 * len(found)


@pytest.mark.parametrize("name", FORMATS)
def test_each_variant_is_read_right_or_not_supported(name):
    wrong = {
        it.name: came
        for it in all_variants()
        if it.format == name
        and (came := formats.ours(it)) != (RIGHT if it.supported else UNSUPPORTED)
    }
    assert wrong == {}


def test_the_page_shows_these_variants():
    text = formats.PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    expected = {
        name: (
            sum(it.format == name for it in all_variants()),
            sum(it.format == name and it.supported for it in all_variants()),
            sum(it.format == name and not it.supported for it in all_variants()),
        )
        for name in FORMATS
    }
    assert {name: tuple(map(int, numbers)) for name, *numbers in rows} == expected


PIXELS = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "verdict"),
    [
        (PIXELS, RIGHT),
        (PIXELS + 1, RIGHT),
        (PIXELS + 9, "wrong by 9"),
        (PIXELS.swapaxes(0, 1), "4x6 for 6x4"),
        (None, REFUSED),
    ],
)
def test_wrong_pixels_are_told_from_right_ones(pixels, verdict):
    assert judged(Variant("PNG", "black", b"", PIXELS), pixels) == verdict


def test_opencv_reads_most_of_them():
    found = [it for it in all_variants() if it.format in ("GIF", "PNG")]
    right = sum(judged(it, formats.read_by_opencv(it)) == RIGHT for it in found)
    assert right > 0.8 * len(found)


def test_imagemagick_reads_most_of_them():
    if not (command := formats.magick_command()):
        pytest.skip("ImageMagick is not installed")
    found = [it for it in all_variants() if it.format in ("GIF", "PNG")][::10]
    right = sum(judged(it, formats.read_by_magick(it, command)) == RIGHT for it in found)
    assert right > 0.7 * len(found)


def test_the_page_is_renewed(tmp_path):
    black = Variant("PNG", "black", b"", PIXELS)
    found = [
        Comparison(black, RIGHT, "wrong by 5", None),
        Comparison(Variant("PNG", "white", b"", PIXELS), RIGHT, RIGHT, None),
    ]
    page = tmp_path / "page.md"
    page.write_text(
        "a <!-- summary -->old<!-- /summary --> <!-- differences --><!-- /differences -->"
    )
    blocks = {
        "summary": formats.summary_table(found),
        "differences": formats.differences_table(found),
    }
    formats.write_page(page, blocks)
    text = page.read_text()
    assert "| PNG | 2 | 2 | 0 | 1 | – |" in text
    assert "| PNG: black | right | wrong by 5 | – |" in text
    assert "white" not in text

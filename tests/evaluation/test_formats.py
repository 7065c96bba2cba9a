"""Every variant of every format is decoded correctly or rejected as not supported."""

import re
from functools import cache

import numpy as np
import pytest

from evaluation import formats
from evaluation.formats import CORRECT, REJECTED, UNSUPPORTED, Comparison, judge
from evaluation.variants import Variant, variants

FORMATS = ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "HEIC", "AVIF")


@cache
def all_variants():
    return variants()


def test_variants_are_many_and_distinct():
    found = all_variants()
    assert len(found) >= 400
    assert len({(each.format, each.name) for each in found}) == len(found)
    assert {each.format for each in found} == set(FORMATS)
    assert sum(each.supported for each in found) > 0.9 * len(found)


@pytest.mark.parametrize("name", FORMATS)
def test_variant_is_decoded_correctly_or_not_supported(name):
    wrong = {
        each.name: result
        for each in all_variants()
        if each.format == name
        and (result := formats.judge_service(each)) != (CORRECT if each.supported else UNSUPPORTED)
    }
    assert wrong == {}


def test_page_has_the_counts_of_the_variants():
    text = formats.PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    expected = {
        name: (
            sum(each.format == name for each in all_variants()),
            sum(each.format == name and each.supported for each in all_variants()),
            sum(each.format == name and not each.supported for each in all_variants()),
        )
        for name in FORMATS
    }
    assert {name: tuple(map(int, numbers)) for name, *numbers in rows} == expected


PIXELS = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("pixels", "verdict"),
    [
        (PIXELS, CORRECT),
        (PIXELS + 1, CORRECT),
        (PIXELS + 9, "differs by 9"),
        (PIXELS.swapaxes(0, 1), "4x6 instead of 6x4"),
        (None, REJECTED),
    ],
)
def test_judge_compares_pixels(pixels, verdict):
    assert judge(Variant("PNG", "black", b"", PIXELS), pixels) == verdict


def test_opencv_decodes_most_variants():
    found = [each for each in all_variants() if each.format in ("GIF", "PNG")]
    correct = sum(judge(each, formats.read_by_opencv(each)) == CORRECT for each in found)
    assert correct > 0.8 * len(found)


def test_imagemagick_decodes_most_variants():
    if not (command := formats.magick_command()):
        pytest.skip("ImageMagick is not installed")
    found = [each for each in all_variants() if each.format in ("GIF", "PNG")][::10]
    correct = sum(judge(each, formats.read_by_magick(each, command)) == CORRECT for each in found)
    assert correct > 0.7 * len(found)


def test_write_page_replaces_the_blocks(tmp_path):
    black = Variant("PNG", "black", b"", PIXELS)
    found = [
        Comparison(black, CORRECT, "differs by 5", None),
        Comparison(Variant("PNG", "white", b"", PIXELS), CORRECT, CORRECT, None),
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
    assert "| PNG: black | correct | differs by 5 | – |" in text
    assert "white" not in text

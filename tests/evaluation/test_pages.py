"""The committed pages have the fixed text and the table heads of the programs that write them."""

import string

import pytest

from app.settings import ROOT
from evaluation import (
    detection_page,
    formats,
    mood_page,
    mood_tables,
    shapes,
    single_shot_page,
    valence,
    wild_page,
)

TEXTS = {
    "wild": [wild_page.TEXT, wild_page.SECTION],
    "detectors": [
        detection_page.TEXT,
        detection_page.END_TO_END_TEXT,
        shapes.SHAPES_TEXT,
        shapes.ROTATIONS_TEXT,
    ],
    "single-shot": [single_shot_page.TEXT],
    "mood": [mood_page.TEXT],
    "valence": [
        valence.TEXT,
        valence.RATINGS_TEXT,
        valence.SIGNS_TEXT,
        valence.LABELS_TEXT,
    ],
}
# The first columns of the tables. Some tables have further columns, such as emotions.
HEADS = {
    "wild": [wild_page.SYSTEM_HEAD, wild_page.EMOTION_HEAD],
    "detectors": [
        detection_page.SUMMARY_HEAD,
        detection_page.END_TO_END_HEAD,
        detection_page.COUNTS_HEAD,
        shapes.SHAPES_HEAD,
        shapes.ROTATIONS_HEAD,
    ],
    "single-shot": [
        single_shot_page.DETECTION_HEAD,
        single_shot_page.FALSE_BOXES_HEAD,
        single_shot_page.EXPRESSIONS_HEAD,
        single_shot_page.PORTRAITS_HEAD,
        single_shot_page.COST_HEAD,
        single_shot_page.STAGES_HEAD,
    ],
    "mood": [mood_tables.OVERVIEW_HEAD, mood_tables.FACES_HEAD],
    "valence": [valence.CORRELATIONS_HEAD, valence.SIGNS_HEAD, valence.LABELS_HEAD],
    "image-formats": [formats.SUMMARY_HEAD, formats.DIFFERENCES_HEAD],
    "accuracy": [
        wild_page.SHORT_HEAD,
        detection_page.SHORT_HEAD,
        single_shot_page.SHORT_HEAD,
        mood_tables.SHORT_HEAD,
    ],
}


def read(name):
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def missing_text(template, page):
    """The parts of `template` between its fields that `page` does not have in this order."""
    start = 0
    for text, *_ in string.Formatter().parse(template):
        at = page.find(text, start)
        if at < 0:
            yield text
        else:
            start = at + len(text)


@pytest.mark.parametrize("name", TEXTS)
def test_page_has_the_text_of_its_program(name):
    page = read(name)
    assert [text for template in TEXTS[name] for text in missing_text(template, page)] == []


@pytest.mark.parametrize("name", HEADS)
def test_page_has_the_table_heads_of_its_program(name):
    starts = [line.split(" | ") for line in read(name).splitlines() if line.startswith("| ")]
    rows = [
        [cells[0].removeprefix("| "), *cells[1:-1], cells[-1].removesuffix(" |")]
        for cells in starts
    ]
    assert [head for head in HEADS[name] if head not in [row[: len(head)] for row in rows]] == []


def test_missing_text_finds_a_changed_sentence():
    template = "# Title\n\nThere are {count} faces. Each has a {kind}.\n"
    assert list(missing_text(template, "# Title\n\nThere are 3 faces. Each has a label.\n")) == []
    changed = "# Title\n\nThere are 3 faces. All have a label.\n"
    assert list(missing_text(template, changed)) == [" faces. Each has a "]

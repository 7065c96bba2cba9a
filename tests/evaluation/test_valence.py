"""Comparison of valence and arousal with ratings and labels."""

import sys

import numpy as np
import pytest

from app.settings import ROOT
from app.vision.types import Box, Face, Scores
from evaluation import valence
from evaluation.valence import (
    Rated,
    affect_of_image,
    correlation,
    correlations,
    means_by_label,
    ranks,
    signs,
)

PHOTO = ROOT / "docs" / "astronaut.jpg"


def face(side, **probabilities):
    return Face(Box(0, 0, side, side), Scores({"happiness": 0.0, "anger": 0.0} | probabilities))


def test_affect_of_image_weights_faces_by_area():
    affect, dominant = affect_of_image([face(10, anger=1.0), face(20, happiness=1.0)])
    assert affect == pytest.approx((0.8 * 0.81 - 0.2 * 0.51, 0.8 * 0.51 + 0.2 * 0.59))
    assert dominant == "happiness"
    with pytest.raises(ValueError, match="without coordinates"):
        affect_of_image([Face(Box(0, 0, 1, 1), Scores({"boredom": 1.0}))])


def test_ranks_gives_equal_values_the_same_rank():
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0, 2.5, 1]


def test_correlation_has_an_interval():
    x = np.arange(50.0)
    assert correlation(x, 2 * x + 1) == pytest.approx((1, 1, 1))
    noise = np.tile([1.0, -1.0], 25)
    r, low, high = correlation(x, noise)
    assert low < 0 < high
    assert low < r < high


RATED = [
    Rated(
        "Person",
        (5.0 + number % 3, 2.0 + number % 2),
        (0.5 + 0.1 * (number % 3), 0.1 * (number % 2)),
        "anger",
    )
    for number in range(6)
] + [Rated("Animal", (3.0, 3.0), (0.2, 0.5), "happiness")]


def test_tables_have_rows_by_emotion_and_category():
    rows = signs(RATED).splitlines()[2:]
    assert rows == [
        "| happiness | 1 | +0.20 | 3.00 | 0.0 % |",
        "| anger | 6 | +0.60 | 6.00 | 100.0 % |",
    ]
    first, *_ = correlations([*RATED, RATED[-1]]).splitlines()[2:]
    assert first.startswith("| all with a face | 8 | valence | +0.")


def test_means_by_label_has_the_coordinates():
    text = means_by_label({"anger": [face(10, anger=0.5, happiness=0.5)]})
    assert text.splitlines()[-1] == "| anger | 1 | +0.15 | +0.55 | −0.51 | +0.59 |"


def test_command_writes_page(tmp_path, monkeypatch):
    for name in ("oasis", "expw"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "a.jpg").write_bytes(PHOTO.read_bytes())
    ratings = [f"a.jpg,Person,{5 + index},{3 + index % 2}" for index in range(3)]
    head = "image,category,valence_mean,arousal_mean"
    (tmp_path / "data" / "oasis" / "ratings.csv").write_text("\n".join([head, *ratings]))
    (tmp_path / "data" / "expw" / "faces.csv").write_text(
        "image,x1,y1,x2,y2,split,reader1,reader2\n"
        "a.jpg,170,60,280,170,val,happiness,happiness\n"
        "a.jpg,170,60,280,170,val,happiness,anger\n"
        "a.jpg,170,60,280,170,val,,\n"
        "a.jpg,170,60,280,170,train,anger,anger\n"
        "a.jpg,400,400,500,500,val,anger,anger\n"
    )
    monkeypatch.setattr(valence, "PAGE", tmp_path / "valence.md")
    # Equal values have no correlation.
    monkeypatch.setattr(valence, "correlation", lambda *_: (0.5, 0.4, 0.6))
    options = ["--data", str(tmp_path / "data"), "--models-dir", str(ROOT / "models"), "--write"]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    valence.main()
    text = (tmp_path / "valence.md").read_text()
    assert "finds a face in 3 of 3 images of OASIS" in text
    assert "finds 1 of 2 faces of the validation split" in text
    assert "| happiness | 1 | +0.81 | +0.51 | +0.81 | +0.51 |" in text


def test_command_names_missing_data(tmp_path, monkeypatch):
    options = ["--data", str(tmp_path / "nowhere"), "--models-dir", str(ROOT / "models")]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    with pytest.raises(SystemExit, match=r"^error: .*nowhere"):
        valence.main()

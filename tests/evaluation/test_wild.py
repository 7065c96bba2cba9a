"""Figures of labelled faces by hand, and the command on a few real photographs."""

import csv
import json
import shutil

import numpy as np
import pytest

from app.settings import ROOT
from app.vision.types import Analysis, Box, Face, ModelRef
from evaluation import named_faces, wild
from evaluation.expressions import Shot
from tests.conftest import LABELS
from training.data.split import DataError
from training.data.wild import Reading, WildFace

LEFT, RIGHT, FAR = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(80, 80, 90, 90)


def face(box, label, labels=LABELS):
    rest = 0.4 / (len(labels) - 1)
    return Face(box, {each: 0.6 if each == label else rest for each in labels}, 0.9)


def shot(*faces, ms=10.0):
    return Shot(Analysis("a", 0.0, 100, 100, faces, ModelRef("m", "1", "0"), "d"), ms)


def marked(box, label, sure=True):
    return WildFace(ROOT / "a.webp", box, (Reading(label, sure), Reading(label, sure)))


def test_found_named_right_and_missed_faces_are_counted():
    outcome = named_faces.outcome(
        [shot(face(LEFT, "anger"), face(RIGHT, "fear")), shot(ms=30.0)],
        [
            [marked(LEFT, "anger"), marked(RIGHT, "surprise", sure=False)],
            [marked(FAR, "fear")],
        ],
    )
    assert [len(outcome.asked), len(outcome.found)] == [3, 2]
    assert outcome.hits.tolist() == [True, False]
    assert outcome.sure_hits.tolist() == [True]
    assert outcome.end_to_end == pytest.approx(1 / 3)
    assert outcome.milliseconds == 20.0
    assert outcome.faces(LABELS.index("fear")) == 1
    assert outcome.precision(LABELS.index("fear")) == 0.0
    assert np.isnan(outcome.precision(LABELS.index("disgust")))
    matrix = outcome.confusion
    assert matrix.shape == (8, 9)
    assert matrix.sum() == 3
    assert matrix[LABELS.index("fear"), 8] == 1
    assert matrix[LABELS.index("surprise"), LABELS.index("fear")] == 1


def test_the_box_that_overlaps_most_answers_and_a_distant_one_does_not():
    near, half = Box(0, 0, 10, 9), Box(0, 5, 10, 15)
    boxes = [face(half, "fear"), face(near, "anger")]
    assert named_faces.outcome([shot(*boxes)], [[marked(LEFT, "anger")]]).hits.tolist() == [True]
    assert not named_faces.outcome([shot(boxes[0])], [[marked(LEFT, "fear")]]).found


def test_macro_is_the_mean_over_emotions_with_enough_faces(monkeypatch):
    monkeypatch.setattr(named_faces, "FEWEST_FACES", 2)
    answers = ["anger", "anger", "fear", "anger", "anger", "neutral"]
    truths = ["anger", "anger", "fear", "fear", "disgust", "neutral"]
    outcome = named_faces.outcome(
        [shot(face(LEFT, each)) for each in answers], [[marked(LEFT, each)] for each in truths]
    )
    assert outcome.macro == pytest.approx((1 + 0.5) / 2)


def test_a_model_is_asked_about_the_emotions_that_it_knows():
    found = [shot(face(LEFT, "anger", LABELS[:5])), shot()]
    faces = [[marked(LEFT, "anger"), marked(RIGHT, "fear")], [marked(LEFT, "contempt")]]
    assert len(named_faces.outcome(found, faces).asked) == 1
    with pytest.raises(DataError, match="no face has a label"):
        named_faces.outcome(found, [[marked(LEFT, "fear")], []])


def test_systems_are_each_detector_and_every_classifier():
    networks = ["single_shot", "another"]
    chosen = wild.systems(["haar", "single_shot"], ["custom_net_8", "mine"], networks)
    names = [each.name for each in chosen]
    assert [each.options.model for each in chosen[-2:]] == networks
    assert names == [
        "haar + custom_net_8",
        "single_shot + custom_net_8",
        "single_shot + mine",
        "single_shot alone",
        "another alone",
    ]


def test_the_command_measures_what_is_served(tmp_path, shared, monkeypatch, capsys):
    models, data = tmp_path / "models", tmp_path / "data" / "expw"
    for name in ("custom_net_8", "single_shot", "haar"):
        shutil.copytree(ROOT / "models" / name, models / name)
    data.mkdir(parents=True)
    (data / "images").symlink_to(shared / "expw" / "images")
    rows = list(csv.DictReader((shared / "expw" / "faces.csv").read_text().splitlines()))
    with (data / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows([row for row in rows if row["split"] == "val" and row["sure1"]][:30])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "accuracy.md").write_text("<!-- wild --><!-- /wild -->")
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", str(tmp_path / "data"), "--models-dir", str(models), "--write"]
    monkeypatch.setattr("sys.argv", ["wild", *arguments])
    wild.main()
    page = (tmp_path / "docs" / "wild.md").read_text()
    assert capsys.readouterr().out.endswith(page + "\n")
    assert page.count("| haar + custom_net_8 | 30 |") == 1
    assert "| single_shot alone |" in (tmp_path / "docs" / "accuracy.md").read_text()
    for picture in ("wild-single-shot-custom-net-8", "wild-single-shot-alone"):
        for kind in ("confusion", "reliability"):
            assert (tmp_path / "docs" / f"{picture}-{kind}.png").stat().st_size > 5_000
    card = json.loads((models / "custom_net_8" / "card.json").read_text())["wild"]
    assert card["faces"] == 30
    assert card["found"] > 0.8
    assert 0.4 < card["right_of_found"] <= 1
    assert "wild" in json.loads((models / "single_shot" / "card.json").read_text())

"""Scores of a few constructed faces, and the command on a few real photographs."""

import csv
import json
import shutil

import numpy as np
import pytest

from app.settings import ROOT
from app.vision.types import Analysis, Box, Face, ModelRef
from evaluation import wild, wild_scores
from evaluation.expressions import SystemResult
from evaluation.wild_scores import score_faces
from tests.conftest import LABELS
from training.data.split import DataError
from training.data.wild import Reading, WildFace

LEFT, RIGHT, FAR = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(80, 80, 90, 90)


def face(box, label, labels=LABELS):
    rest = 0.4 / (len(labels) - 1)
    return Face(box, {each: 0.6 if each == label else rest for each in labels}, 0.9)


def system_result(*faces, ms=10.0):
    return SystemResult(Analysis("a", 0.0, 100, 100, faces, ModelRef("m", "1", "0"), "d"), ms)


def labelled(box, label, sure=True):
    return WildFace(ROOT / "a.webp", box, (Reading(label, sure), Reading(label, sure)))


def test_detected_correct_and_missed_faces_are_counted():
    scores = score_faces(
        [system_result(face(LEFT, "anger"), face(RIGHT, "fear")), system_result(ms=30.0)],
        [
            [labelled(LEFT, "anger"), labelled(RIGHT, "surprise", sure=False)],
            [labelled(FAR, "fear")],
        ],
    )
    assert [len(scores.faces), len(scores.detected)] == [3, 2]
    assert scores.hits.tolist() == [True, False]
    assert scores.certain_hits.tolist() == [True]
    assert scores.end_to_end_accuracy == pytest.approx(1 / 3)
    assert scores.milliseconds == 20.0
    assert scores.count(LABELS.index("fear")) == 1
    assert scores.precision(LABELS.index("fear")) == 0.0
    assert np.isnan(scores.precision(LABELS.index("disgust")))
    matrix = scores.confusion
    assert matrix.shape == (8, 9)
    assert matrix.sum() == 3
    assert matrix[LABELS.index("fear"), 8] == 1
    assert matrix[LABELS.index("surprise"), LABELS.index("fear")] == 1


def test_box_with_the_highest_iou_counts_and_a_distant_one_does_not():
    near, half = Box(0, 0, 10, 9), Box(0, 5, 10, 15)
    boxes = [face(half, "fear"), face(near, "anger")]
    assert score_faces([system_result(*boxes)], [[labelled(LEFT, "anger")]]).hits.tolist() == [True]
    assert not score_faces([system_result(boxes[0])], [[labelled(LEFT, "fear")]]).detected


def test_macro_recall_is_the_mean_over_emotions_with_enough_faces(monkeypatch):
    monkeypatch.setattr(wild_scores, "MIN_FACES", 2)
    predicted = ["anger", "anger", "fear", "anger", "anger", "neutral"]
    truths = ["anger", "anger", "fear", "fear", "disgust", "neutral"]
    scores = score_faces(
        [system_result(face(LEFT, each)) for each in predicted],
        [[labelled(LEFT, each)] for each in truths],
    )
    assert scores.macro_recall == pytest.approx((1 + 0.5) / 2)


def test_faces_with_a_label_that_the_model_does_not_know_are_left_out():
    found = [system_result(face(LEFT, "anger", LABELS[:5])), system_result()]
    faces = [[labelled(LEFT, "anger"), labelled(RIGHT, "fear")], [labelled(LEFT, "contempt")]]
    assert len(score_faces(found, faces).faces) == 1
    with pytest.raises(DataError, match="no face has a label"):
        score_faces(found, [[labelled(LEFT, "fear")], []])


def test_systems_are_each_detector_and_every_classifier():
    networks = ["single_shot", "another"]
    classifiers = ["custom_net_8", "custom_net_8_int8", "mine"]
    chosen = wild.systems(["haar", "single_shot"], classifiers, networks)
    names = [each.name for each in chosen]
    assert [each.options.model for each in chosen[-2:]] == networks
    assert names == [
        "haar + custom_net_8_int8",
        "single_shot + custom_net_8_int8",
        "single_shot + custom_net_8",
        "single_shot + mine",
        "single_shot alone",
        "another alone",
    ]


def test_command_writes_page_charts_summary_and_cards(tmp_path, shared, monkeypatch, capsys):
    models, data = tmp_path / "models", tmp_path / "data" / "expw"
    for name in ("custom_net_8_int8", "single_shot", "haar"):
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
    assert page.count("| haar + custom_net_8_int8 | 30 |") == 1
    assert "| single_shot alone |" in (tmp_path / "docs" / "accuracy.md").read_text()
    for chart in ("wild-single-shot-custom-net-8-int8", "wild-single-shot-alone"):
        for kind in ("confusion", "reliability"):
            assert (tmp_path / "docs" / f"{chart}-{kind}.png").stat().st_size > 5_000
    card = json.loads((models / "custom_net_8_int8" / "card.json").read_text())["wild"]
    assert card["faces"] == 30
    assert card["found"] > 0.8
    assert 0.4 < card["right_of_found"] <= 1
    assert "wild" in json.loads((models / "single_shot" / "card.json").read_text())

"""Figures of detection and classification on small examples, and the command on a few images."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from app.settings import ROOT
from app.vision.types import Analysis, Box, Face, ModelRef, Scores
from evaluation import expressions, single_shot
from evaluation.expressions import (
    EndToEnd,
    SystemResult,
    Truth,
    confusion,
    end_to_end,
    synthetic_scenes,
)
from evaluation.systems import FACE_KINDS, Cost, System, costs, score_kind, systems
from tests.conftest import LABELS
from training.data.annotated_images import AnnotatedImage
from training.data.photos import (
    AnnotatedFace,
    Photograph,
    Portrait,
    portraits_with_equal_readings,
)
from training.data.scenes import Collection, Sources

LEFT, RIGHT, FAR = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(80, 80, 90, 90)


def face(box, score=0.9, **shares):
    rest = (1 - sum(shares.values())) / (len(LABELS) - len(shares))
    return Face(box, Scores({label: shares.get(label, rest) for label in LABELS}), score)


def system_result(*faces, size=(100, 100), ms=10.0, decode=4.0):
    analysis = Analysis(
        "a", 0.0, *size, faces, ModelRef("m", "1", "0"), "d", timings_ms={"decode": decode}
    )
    return SystemResult(analysis, ms)


def photograph(*faces, collection="crowds"):
    return Photograph(ROOT / collection / "a.jpg", faces)


def test_average_precision_is_one_without_errors(monkeypatch):
    monkeypatch.setattr(expressions, "MIN_FACES", 1)
    truth = [Truth(((LEFT, "happiness"), (RIGHT, "anger"), (FAR, None)))]
    found = [system_result(face(LEFT, happiness=0.9), face(RIGHT, anger=0.8), face(FAR, fear=0.9))]
    result = expressions.expressions(found, truth)
    assert result.average_precisions == {"happiness": 1.0, "anger": 1.0}
    assert result.counts == {"happiness": 1, "anger": 1}
    assert result.mean_average_precision == result.average_precision_of_faces == 1.0


def test_mean_leaves_out_emotions_with_few_faces(monkeypatch):
    truth = [Truth(((LEFT, "happiness"), (RIGHT, "happiness"), (FAR, "anger")))]
    found = [system_result(face(LEFT, happiness=0.9), face(RIGHT, happiness=0.8))]
    monkeypatch.setattr(expressions, "MIN_FACES", 1)
    assert expressions.expressions(found, truth).mean_average_precision == 0.5
    monkeypatch.setattr(expressions, "MIN_FACES", 2)
    assert expressions.expressions(found, truth).mean_average_precision == 1
    monkeypatch.setattr(expressions, "MIN_FACES", 3)
    assert np.isnan(expressions.expressions(found, truth).mean_average_precision)


def test_wrong_expression_lowers_both_precisions():
    truth = [Truth(((LEFT, "happiness"), (RIGHT, "anger")))]
    found = [system_result(face(LEFT, anger=0.9), face(RIGHT, anger=0.8))]
    result = expressions.expressions(found, truth)
    # The first "anger" by score is a happy face, the second is correct: precision 1/2.
    assert result.average_precisions["anger"] == pytest.approx(1 / 2)
    # The happy face has a happiness of 1/70 and the angry face 2/70, so the angry face is first.
    assert result.average_precisions["happiness"] == pytest.approx(1 / 2)
    assert result.average_precision_of_faces == 1.0


def test_missed_face_and_false_box_lower_precision():
    truth = [Truth(((LEFT, "happiness"), (RIGHT, "happiness")))]
    found = [system_result(face(LEFT, happiness=0.5), face(FAR, happiness=0.9))]
    result = expressions.expressions(found, truth)
    # Half of the recall at a precision of 1/2.
    assert result.average_precisions["happiness"] == pytest.approx(1 / 4)
    # The boxes have equal detection scores, and the first one in the list is correct.
    assert result.average_precision_of_faces == pytest.approx(1 / 2)


def test_detections_are_ranked_by_score_times_probability():
    truth = [Truth(((LEFT, "happiness"),))]
    unsure = [system_result(face(LEFT, happiness=0.6), face(FAR, score=0.5, happiness=0.9))]
    result = expressions.expressions(unsure, truth)
    assert result.average_precisions["happiness"] == 1.0  # the scores are .54 and .45


def test_confusion_has_row_and_column_for_no_face():
    truth = [Truth(((LEFT, "happiness"), (RIGHT, "fear")))]
    found = [system_result(face(LEFT, sadness=0.9), face(FAR, anger=0.9))]
    matrix = confusion(found, truth)
    happiness, fear, sadness, anger = (
        LABELS.index(each) for each in ("happiness", "fear", "sadness", "anger")
    )
    assert matrix[happiness, sadness] == 1
    assert matrix[fear, -1] == 1  # missed
    assert matrix[-1, anger] == 1  # false
    assert matrix.sum() == 3


def test_confusion_ignores_faces_of_unknown_expression():
    matrix = confusion(
        [system_result(face(LEFT, anger=0.9))], [Truth(((LEFT, None), (RIGHT, None)))]
    )
    assert matrix.sum() == 0


def test_end_to_end_scores_the_main_face():
    portraits = [Portrait(ROOT / "a.jpg", LEFT, "happiness")] * 4
    found = [
        system_result(face(LEFT, happiness=0.9), face(FAR, anger=0.9)),
        system_result(face(LEFT, anger=0.9)),
        system_result(face(FAR, happiness=0.9)),
        system_result(),
    ]
    assert end_to_end(found, portraits) == EndToEnd(0.5, 0.25, {"happiness": 0.25})


def test_found_faces_counts_by_size_and_mask():
    marked = (
        AnnotatedFace(Box(0, 0, 30, 30), condition="bare"),
        AnnotatedFace(Box(40, 0, 70, 30), condition="masked"),
        AnnotatedFace(Box(0, 40, 6, 46), condition="bare"),
        AnnotatedFace(Box(80, 80, 99, 99), sure=False),
    )
    found = [system_result(face(marked[0].box), face(marked[3].box), size=(1000, 100))]
    numbers = {}
    for kind in FACE_KINDS:
        each = score_kind(found, [photograph(*marked)], kind, 0.4)
        numbers[kind] = (each.true_positives, each.false_positives, each.false_negatives)
    assert numbers == {
        "natural + crowds, from 20 px": (1, 0, 1),
        "crowds, bare, from 5 %": (0, 0, 0),  # 30 of 1000 pixels are 3 %
        "crowds, bare, from 24 px": (1, 0, 0),
        "crowds, all": (1, 0, 2),
        "natural, from 5 %": (0, 0, 0),
    }


def test_costs_are_medians_with_and_without_decoding():
    system = System("a")
    found = {
        system: [
            system_result(ms=10, decode=4),
            system_result(ms=30, decode=5),
            system_result(ms=20, decode=3),
        ]
    }
    assert costs(found) == {system: Cost(20, 17)}


def test_systems_starts_with_the_default():
    names = [str(system) for system in systems(["haar", "single_shot"])]
    assert names == [
        "haar + custom_net_8_int8",
        "single_shot + custom_net_8_int8",
        "single_shot alone",
        "haar + custom_net_8_int8, any size",
        "single_shot + custom_net_8_int8, any size",
        "single_shot alone, any size",
    ]


def test_synthetic_scenes_have_ground_truth(monkeypatch):
    monkeypatch.setattr(expressions, "SCENES", 12)
    empty = AnnotatedImage(
        np.zeros((100, 100, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, bool),
        np.zeros((0, 8), np.float32),
    )
    crop = AnnotatedImage(
        np.full((48, 48), 200, np.uint8),
        np.array([[6, 0, 42, 48]], np.float32),
        np.ones(1, bool),
        np.eye(8, dtype=np.float32)[[3]],
    )
    background, crops = Collection.of([empty]), Collection.of([crop])
    scenes = list(synthetic_scenes(Sources(((1.0, background),), background, crops, crops)))
    assert len(scenes) == 12
    labels = [label for _, truth in scenes for _, label in truth.faces]
    assert len(labels) > 3
    assert set(labels) <= {"sadness", None}
    assert cv2.imdecode(np.frombuffer(scenes[0][0], np.uint8), 1).shape == (320, 320, 3)


def test_command_writes_page_charts_summary_and_card(tmp_path, shared, monkeypatch, capsys):
    """A few photographs of each collection, with copies of the models."""
    models = tmp_path / "models"
    for name in ("custom_net_8_int8", "single_shot", "haar"):
        shutil.copytree(ROOT / "models" / name, models / name)
    photos = tmp_path / "data" / "photos"
    photos.mkdir(parents=True)
    rows, faces = (
        list(csv.DictReader((shared / "photos" / name).read_text().splitlines()))
        for name in ("images.csv", "faces.csv")
    )
    marked = {each["image"] for each in faces}
    portraits = portraits_with_equal_readings(shared / "photos")
    read = {each.path.relative_to(shared / "photos").as_posix() for each in portraits}
    chosen = []
    for collection in ("natural", "crowds", "lfw-expressions"):
        (photos / collection).symlink_to(shared / "photos" / collection)
        images = [row for row in rows if row["image"].startswith(collection)]
        images = [row for row in images if row["split"] == "val"]
        if collection == "lfw-expressions":
            images = [row for row in images if row["image"] in read]
        chosen += [row for row in images if row["image"] in marked][:10]
        chosen += [row for row in images if row["image"] not in marked][:4]
    with (photos / "images.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    names = {each["image"] for each in chosen}
    with (photos / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, faces[0].keys())
        writer.writeheader()
        writer.writerows(each for each in faces if each["image"] in names)
    shutil.copy(shared / "photos" / "portrait_readings.csv", photos)
    (tmp_path / "data" / "ferplus").symlink_to(shared / "ferplus")
    monkeypatch.setattr(expressions, "MIN_FACES", 1)
    monkeypatch.setattr(expressions, "SCENES", 8)
    monkeypatch.setattr(single_shot, "ROUNDS", 1)
    monkeypatch.setattr(single_shot, "MEGAPIXELS", 0.3)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs" / "accuracy.md").write_text("<!-- single_shot --><!-- /single_shot -->")
    arguments = ["--data", str(tmp_path / "data"), "--models-dir", str(models), "--write"]
    monkeypatch.setattr("sys.argv", ["single_shot", *arguments])
    single_shot.main()
    text = capsys.readouterr().out
    assert text.endswith((tmp_path / "docs" / "single-shot.md").read_text() + "\n")
    assert "| single_shot alone, any size |" in text
    for chart in ("single-shot", "single-shot-portraits", "single-shot-scenes"):
        assert (tmp_path / "docs" / f"{chart}.png").stat().st_size > 5_000
    assert "| single_shot alone |" in (tmp_path / "docs" / "accuracy.md").read_text()
    card = single_shot.read_document(models / "single_shot")
    section = card["evaluation"]["portrait_readings"]
    assert section["portraits"] == sum(section["portraits_by_emotion"].values()) > 5
    assert section["main_face_found"] > 0.9

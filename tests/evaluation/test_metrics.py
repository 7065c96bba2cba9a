"""Metrics on small examples."""

import numpy as np
import pytest

from app.vision.types import Box
from evaluation.metrics import (
    bootstrap_interval,
    confusion_matrix,
    expected_calibration_error,
    score,
)
from testbed.boxes import iou
from training.data.photos import PhotosError, portraits_with_equal_readings, read_portraits


def test_confusion_matrix_has_ground_truth_in_rows():
    matrix = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), classes=3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_score_of_four_faces():
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.7, 0.3, 0]])
    scores = score(probabilities, np.array([0, 0, 1, 1]))
    assert scores.count == 4
    assert scores.accuracy == 0.75
    assert scores.recall[:2].tolist() == [1.0, 0.5]
    assert scores.precision[:2].tolist() == [pytest.approx(2 / 3), 1.0]
    assert np.isnan(scores.recall[2])
    assert scores.macro_recall == 0.75  # over the two classes with faces
    assert scores.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_calibration_error_of_two_bins():
    # Two of 15 bins: confidence .95 with accuracy 1, and confidence .61 with accuracy .5.
    confidence = np.array([0.95, 0.95, 0.61, 0.61])
    hits = np.array([True, True, True, False])
    expected = 0.5 * 0.05 + 0.5 * 0.11
    assert expected_calibration_error(confidence, hits) == pytest.approx(expected)


def test_confidence_of_one_is_in_the_last_bin():
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0


def test_interval_contains_the_mean_and_narrows_with_more_values():
    few, many = np.arange(10) < 8, np.arange(1000) < 800
    low, high = bootstrap_interval(few)
    assert low < 0.8 < high
    narrow_low, narrow_high = bootstrap_interval(many)
    assert high - low > 3 * (narrow_high - narrow_low)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Box(0, 0, 10, 10), 1.0),
        (Box(5, 0, 15, 10), 50 / 150),
        (Box(10, 0, 20, 10), 0.0),
        (Box(2, 2, 8, 8), 36 / 100),
    ],
)
def test_iou(other, expected):
    assert iou(Box(0, 0, 10, 10), other) == pytest.approx(expected)


def test_read_portraits_filters_by_split(tmp_path):
    (tmp_path / "images.csv").write_text(
        "image,width,height,sure_faces,split\n"
        "lfw-expressions/a.jpg,9,9,1,train\nlfw-expressions/b.jpg,9,9,1,val\n"
    )
    (tmp_path / "faces.csv").write_text(
        "image,x1,y1,x2,y2,label,source,expression,condition\n"
        "lfw-expressions/a.jpg,0,0,5,5,sure,teacher,anger,\n"
        "lfw-expressions/b.jpg,0,0,5,5,sure,teacher,neutral,\n"
        "lfw-expressions/b.jpg,5,5,9,9,sure,teacher,,\n"
    )
    assert len(read_portraits(tmp_path)) == 2
    (portrait,) = read_portraits(tmp_path, split="val")
    assert (portrait.expression, portrait.box.xyxy) == ("neutral", (0, 0, 5, 5))


def test_portraits_with_equal_readings_have_the_expression_of_the_readings(tmp_path):
    names = [f"lfw-expressions/{name}.jpg" for name in "abcde"]
    rows = [f"{name},{split}" for name, split in zip(names, ("train", "val") * 3, strict=False)]
    (tmp_path / "images.csv").write_text("\n".join(["image,split", *rows]))
    faces = [f"{name},{left},0,9,9,surprise" for left, name in enumerate(names)]
    (tmp_path / "faces.csv").write_text("\n".join(["image,x1,y1,x2,y2,expression", *faces]))
    readings = [
        f"{names[0]},surprise,anger,0,anger,1",
        f"{names[1]},surprise,surprise,0,surprise,0",
        f"{names[2]},surprise,surprise,1,anger,1",
        f"{names[3]},surprise,unclear,0,unclear,0",
    ]
    head = "image,own_label,reader1,sure1,reader2,sure2"
    (tmp_path / "portrait_readings.csv").write_text("\n".join([head, *readings]))
    found = portraits_with_equal_readings(tmp_path)
    assert [(each.path, each.expression, each.box.x1) for each in found] == [
        (tmp_path / names[0], "anger", 0),
        (tmp_path / names[1], "surprise", 1),
    ]


def test_portraits_with_equal_readings_names_missing_tables(tmp_path):
    with pytest.raises(PhotosError, match=r"portrait_readings\.csv"):
        portraits_with_equal_readings(tmp_path)


def test_read_portraits_names_missing_tables(tmp_path):
    with pytest.raises(PhotosError, match=r"images\.csv"):
        read_portraits(tmp_path)

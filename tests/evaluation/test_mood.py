"""Synthetic scenes, the comparison of moods with the ground truth, and the command."""

from collections import Counter

import cv2
import numpy as np
import pytest

from app.settings import ROOT
from app.vision.aggregators import AGGREGATORS
from app.vision.types import Analysis, Box, Face, ModelRef, Scores
from evaluation import mood
from evaluation.expressions import SystemResult, Truth, expressions
from evaluation.mood_results import (
    Filter,
    best_aggregator,
    by_group,
    by_tiny_share,
    correct_on_ground_truth,
    mean_over_systems,
    mood_results,
    mood_results_by_system,
)
from evaluation.mood_scenes import GROUPS, SIDE, Scene, SceneMaterial, scene
from evaluation.systems import System
from evaluation.transforms import TransformResult
from tests.conftest import LABELS
from training.data.annotated_images import AnnotatedImage
from training.data.scenes import Collection, Sources

LEFT, RIGHT = Box(0, 0, 30, 30), Box(100, 0, 130, 30)
ALL = Filter("all")


def face(box, score=0.9, **shares):
    rest = (1 - sum(shares.values())) / (len(LABELS) - len(shares))
    return Face(box, Scores({label: shares.get(label, rest) for label in LABELS}), score)


def system_result(*faces):
    return SystemResult(Analysis("a", 0.0, 200, 200, faces, ModelRef("m", "1", "0"), "d"), 10.0)


def make_scene(mood, *faces, mean_label=None):
    mean = np.eye(8)[LABELS.index(mood)] if mean_label is None else np.array(mean_label)
    return Scene(b"", Truth(faces), mood, mean)


def crop(label):
    return AnnotatedImage(
        np.full((48, 48), 40 + 20 * label, np.uint8),
        np.array([[6, 0, 42, 48]], np.float32),
        np.ones(1, bool),
        np.eye(8, dtype=np.float32)[[label]],
    )


@pytest.fixture
def material():
    """Fifty faces of three labels, one face of a fourth label, and one black background."""
    faces = [crop(label) for label in (0, 1, 4) for _ in range(50)] + [crop(6)]
    black = AnnotatedImage(
        np.zeros((90, 120, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, bool),
        np.zeros((0, 8), np.float32),
    )
    empty, crops = Collection.of([black]), Collection.of(faces)
    return SceneMaterial.of(Sources(((1.0, empty),), empty, crops, Collection.of([crop(1)])))


def test_material_leaves_out_labels_with_few_faces(material):
    assert {label: len(faces) for label, faces in material.faces.items()} == {
        "neutral": 50,
        "happiness": 51,
        "anger": 50,
    }


def test_scene_mood_is_the_most_common_label(material):
    sizes = list(GROUPS.values())
    for number in range(27):
        each = scene(material, number)
        (first, maximum), *others = Counter(label for _, label in each.truth.faces).most_common()
        assert each.mood == first == list(material.faces)[number % 3]
        assert all(count < maximum for _, count in others)
        low, high = sizes[number // 3 % 3]
        assert low <= each.faces <= high
        assert LABELS[int(each.mean_label.argmax())] == each.mood
        assert each.mean_label.sum() == pytest.approx(1)


def test_scenes_contain_faces_of_all_sizes_inside_the_image(material):
    scenes = [scene(material, number) for number in range(18)]
    boxes = np.array([box.xyxy for each in scenes for box, _ in each.truth.faces])
    assert boxes.min() >= 0
    assert boxes.max() <= SIDE
    sides = [box.longer_side for each in scenes for box, _ in each.truth.faces]
    assert 10 < min(sides) < 20  # less than 12 where the edge of the image cuts a face
    assert 100 < max(sides) <= 200.5
    image = cv2.imdecode(np.frombuffer(scenes[0].file, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (SIDE, SIDE, 3)


def test_scene_depends_only_on_number_and_seed(material):
    assert scene(material, 4).file == scene(material, 4).file
    assert scene(material, 4).file != scene(material, 4, seed=1).file


def test_mood_results_have_correctness_and_distance():
    scenes = [
        make_scene("happiness", mean_label=[0.2, 0.8, 0, 0, 0, 0, 0, 0]),
        make_scene("anger"),
        make_scene("anger"),
    ]
    found = [
        system_result(face(LEFT, happiness=0.6, neutral=0.4)),
        system_result(face(LEFT, happiness=1.0)),
        system_result(),
    ]
    result = mood_results(found, scenes, "mean", ALL)
    assert result.correct.tolist() == [1, 0, 0]
    assert result.distance == pytest.approx([0.2, 1, 1])


def test_filter_removes_small_faces():
    scenes = [make_scene("anger")] * 2
    small = face(Box(0, 0, 10, 10), happiness=1.0)
    found = [system_result(small, face(LEFT, anger=0.9)), system_result(small)]
    assert mood_results(found, scenes, "mean", ALL).correct.tolist() == [0, 0]
    assert mood_results(found, scenes, "mean", Filter("", min_face_px=20)).correct.tolist() == [
        1,
        0,
    ]


def test_aggregators_are_scored_on_ground_truth():
    scenes = [
        make_scene("anger", (LEFT, "anger"), (RIGHT, "anger"), (Box(0, 50, 90, 90), "neutral"))
    ]
    assert correct_on_ground_truth(scenes, "mean").tolist() == [1]
    assert correct_on_ground_truth(scenes, "size").tolist() == [0]  # 90 pixels against 60


def test_scenes_are_grouped_by_number_and_share_of_tiny_faces():
    tiny, large = (Box(0, 0, 23, 23), "anger"), (LEFT, "anger")
    scenes = [
        make_scene("anger", large, large),
        make_scene("anger", *[large] * 4, tiny),
        make_scene("anger", *[large] * 10, *[tiny] * 10),
        make_scene("anger", tiny, large, large),
    ]
    groups = {name: rows.tolist() for name, rows in by_group(scenes).items()}
    assert groups == {
        "2–4": [True, False, False, True],
        "5–9": [False, True, False, False],
        "10–20": [False, False, True, False],
    }
    assert {name: rows.tolist() for name, rows in by_tiny_share(scenes).items()} == {
        "none": [True, False, False, False],
        "up to a third": [False, True, False, True],
        "more": [False, False, True, False],
    }


def test_expressions_depends_on_the_iou_threshold(monkeypatch):
    monkeypatch.setattr("evaluation.expressions.MIN_FACES", 1)
    found = [system_result(face(Box(0, 0, 30, 66), anger=0.9))]  # IoU 30/66
    truths = [Truth(((LEFT, "anger"),))]
    assert expressions(found, truths, min_iou=0.5).mean_average_precision == 0
    assert expressions(found, truths, min_iou=0.4).mean_average_precision == 1


def test_mean_over_systems_and_best_aggregator():
    scenes = [make_scene("anger"), make_scene("happiness")]
    angry, happy = face(LEFT, anger=0.9), face(RIGHT, happiness=0.9)
    large_happy = face(Box(0, 0, 90, 90), happiness=0.6)
    found = {
        System("a"): [system_result(angry), system_result(happy)],
        System("b"): [system_result(large_happy, angry), system_result()],
    }
    by_system = mood_results_by_system(found, scenes)
    assert mean_over_systems(by_system, "mean").tolist() == [1, 0.5]
    assert mean_over_systems(by_system, "size").tolist() == [0.5, 0.5]
    assert best_aggregator(by_system) == "sum"


def test_command_writes_page_chart_and_summary(tmp_path, shared, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "accuracy.md").write_text("<!-- mood --><!-- /mood -->")
    monkeypatch.chdir(tmp_path)
    arguments = ["--data", str(shared), "--models-dir", str(ROOT / "models")]
    arguments += ["--detectors", "single_shot", "--scenes", "9", "--write"]
    monkeypatch.setattr("sys.argv", ["mood", *arguments])
    monkeypatch.setattr(
        mood,
        "measure_transforms",
        lambda *_: {("FER+", "clahe"): {16: TransformResult(0.5, -0.1, 0.1)}},
    )
    mood.main()
    text = (tmp_path / "docs" / "mood.md").read_text()
    assert capsys.readouterr().out.endswith(text + "\n")
    assert "9 scenes of 640 × 640 pixels" in text
    assert "derived from the\nlabels of its faces" in text
    assert text.endswith("| FER+ | clahe | 50.0 % (-10.0 to +10.0) |\n")
    assert "nan" not in text
    assert "{" not in text
    assert (tmp_path / "docs" / "mood.png").stat().st_size > 5_000
    block = (tmp_path / "docs" / "accuracy.md").read_text()
    assert all(f"| `{name}`" in block for name in AGGREGATORS)
    (sum_row,) = [line for line in block.splitlines() if line.startswith("| `sum`")]
    (mean_row,) = [line for line in block.splitlines() if line.startswith("| `mean`")]
    assert sum_row.split("|")[2:] == mean_row.split("|")[2:]

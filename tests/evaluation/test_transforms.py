"""Transforms of the crops of small faces, and their evaluation."""

import numpy as np
import pytest

from app.vision.image import crop_face
from app.vision.types import Box
from evaluation import transforms
from evaluation.transforms import (
    TRANSFORMS,
    Sample,
    TransformResult,
    classify_small,
    from_ferplus,
    measure_transforms,
    significant_transforms,
    transforms_table,
)
from tests.conftest import LABELS
from training.data import Split


def ramp(side=24):
    """Dark on the left, light on the right, with an edge in the middle."""
    row = np.where(np.arange(side) < side // 2, 90, 150) + np.arange(side) % 7
    return np.tile(row.astype(np.uint8), (side, 1))


class BrightIsHappy:
    """Stand-in for a classifier: bright crops are happiness (1), all others neutral (0)."""

    class card:
        input_size = 48
        labels = LABELS
        crop_scale = 1.0

    def predict(self, crops):
        logits = np.zeros((len(crops), len(LABELS)), np.float32)
        logits[:, 1] = crops.mean(axis=(1, 2)) - 128
        return logits


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform_returns_a_crop(name):
    crop = TRANSFORMS[name](ramp(), Box(0, 0, 24, 24), 48, 1.0)
    assert (crop.shape, crop.dtype) == ((48, 48), np.uint8)


def test_none_is_the_crop_of_the_service():
    served = crop_face(ramp(), Box(4, 4, 20, 20), size=48, scale=1.1)
    assert (TRANSFORMS["none"](ramp(), Box(4, 4, 20, 20), 48, 1.1) == served).all()


def test_sharpening_steepens_an_edge():
    box = Box(0, 0, 24, 24)
    steepest = [
        np.abs(np.diff(TRANSFORMS[name](ramp(), box, 48, 1.0).astype(int))).max()
        for name in ("none", "bicubic", "bicubic and sharpened")
    ]
    assert steepest == sorted(steepest)
    assert steepest[2] > 1.2 * steepest[0]


def test_clahe_increases_contrast():
    flat = (ramp() // 8) + 100
    assert TRANSFORMS["clahe"](flat, Box(0, 0, 24, 24), 48, 1.0).std() > 1.5 * flat.std()


def test_bicubic_does_not_enlarge_large_faces():
    large = np.repeat(np.repeat(ramp(), 4, axis=0), 4, axis=1)
    box = Box(0, 0, 96, 96)
    served = TRANSFORMS["none"](large, box, 48, 1.0)
    assert (TRANSFORMS["bicubic"](large, box, 48, 1.0) == served).all()


def test_downscaled_resizes_face_and_box():
    small = Sample(np.zeros((100, 60), np.uint8), Box(10, 20, 50, 70), "anger").downscaled(25)
    assert small.gray.shape == (50, 30)
    assert small.box.xyxy == (5, 10, 25, 35)


def test_classify_small_compares_with_the_label():
    light, dark = np.full((48, 48), 200, np.uint8), np.full((48, 48), 20, np.uint8)
    box = Box(0, 0, 48, 48)
    samples = [Sample(light, box, "happiness"), Sample(dark, box, "happiness")]
    assert classify_small(BrightIsHappy(), samples, 16, "none", 1.0).tolist() == [1, 0]


def test_table_has_a_row_per_set_and_transform(monkeypatch):
    monkeypatch.setattr(transforms, "SIDES", (16, 24))
    votes = np.zeros((3, 10), int)
    votes[0, 1] = votes[1, 0] = 9  # happiness, neutral, no majority
    crops = np.stack([np.full((48, 48), gray, np.uint8) for gray in (200, 20, 90)])
    faces = Split(crops, votes, np.array(["a", "b", "c"]))
    assert [each.label for each in from_ferplus(faces, LABELS)] == ["happiness", "neutral"]
    monkeypatch.setattr(
        transforms,
        "from_portraits",
        lambda *_: [Sample(crops[0], Box(0, 0, 48, 48), "anger")],
    )
    measured = measure_transforms(BrightIsHappy(), faces, [])
    lines = transforms_table(measured).splitlines()
    assert lines[0] == "| faces | transform | 16 px | 24 px |"
    assert lines[2] == "| FER+ (2) | none | 100.0 % | 100.0 % |"
    assert lines[6] == "| portraits (1) | none | 0.0 % | 0.0 % |"
    assert len(lines) == 2 + 2 * len(TRANSFORMS)


def test_significant_transforms_requires_both_sets_and_all_small_sizes():
    better, doubtful = TransformResult(0.8, 0.01, 0.03), TransformResult(0.8, -0.01, 0.03)
    measured = {(faces, name): {16: better, 40: doubtful} for faces in "ab" for name in TRANSFORMS}
    measured["b", "clahe"] = {16: doubtful, 40: better}
    assert significant_transforms(measured) == ["none", "bicubic", "bicubic and sharpened"]
    assert str(better) == "80.0 % (+1.0 to +3.0)"
    assert str(TransformResult(0.8, 0, 0)) == "80.0 %"

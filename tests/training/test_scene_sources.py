"""Sources of scenes: photographs, portraits and crops with their expressions."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.deadline import NEVER
from app.vision.types import Box, Detection
from tests.training.flat_scenes import (
    WHITE,
    flat_image,
    same,
)
from training.data.marked_images import (
    DRAWN_SCALE,
    FER_FACE,
    GIVEN_SCALE,
    crops,
    photographs,
    portraits,
    with_quotas,
)
from training.data.photos import PhotosError
from training.votes import LABELS


class Teacher:
    """A teacher with the same answer for each face. `requests` holds the boxes and scales."""

    def __init__(self, **shares):
        rest = (1 - sum(shares.values())) / (len(LABELS) - len(shares))
        self.answer = {label: shares.get(label, rest) for label in reversed(LABELS)}
        self.requests = []

    def classify(self, gray, boxes, *, box_scale=1.0):
        assert gray.ndim == 2
        self.requests += [(box.xyxy, box_scale) for box in boxes]
        return [self.answer for _ in boxes]


class Finder:
    def __init__(self, *boxes):
        self.boxes = boxes

    def detect(self, raster, min_face_px, deadline=NEVER):
        assert raster.bgr.ndim == 3
        return [Detection(Box(*box), 0.9) for box in self.boxes]


def write_photos(folder, images, faces):
    """Write images of one colour, given as {name: split}, and the rows `faces` of faces.csv."""
    lines = ["image,width,height,sure_faces,split"]
    for name, split in images.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (120, 100), (200, 100, 50)).save(path)
        lines.append(f"{name},120,100,0,{split}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    lines = ["image,x1,y1,x2,y2,label,source,expression,condition", *faces]
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


def distribution(teacher):
    return pytest.approx([teacher.answer[label] for label in LABELS], abs=1e-6)


def test_only_bare_sure_and_large_faces_get_expressions(tmp_path):
    rows = {
        "sure,human,,": True,
        "sure,human,,bare": True,
        "sure,human,,masked": False,
        "sure,human,,mask worn wrongly": False,
        "unsure,human,,": False,
        "unsure,human,,bare": False,
    }
    faces = [f"crowds/a.png,{20 * n},10,{20 * n + 18},40,{row}" for n, row in enumerate(rows)]
    faces += ["crowds/a.png,10,60,33,83,sure,human,,", "crowds/a.png,50,60,74,83,sure,human,,"]
    photos = write_photos(tmp_path, {"crowds/a.png": "train", "crowds/b.png": "train"}, faces)
    teacher = Teacher(happiness=0.9)
    first, second = photographs(photos, "crowds", "train", [teacher])
    assert first.targets.any(axis=1).tolist() == [*rows.values(), False, True]
    assert first.targets[0].tolist() == distribution(teacher)
    assert first.targets[-1].tolist() == distribution(teacher)
    assert first.sure.tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert first.boxes[1].tolist() == [20, 10, 38, 40]
    # Boxes drawn by people are wider than those of YuNet.
    assert teacher.requests == [
        ((0, 10, 18, 40), GIVEN_SCALE),
        ((20, 10, 38, 40), DRAWN_SCALE),
        ((50, 60, 74, 83), GIVEN_SCALE),
    ]
    assert first.image.shape == (100, 120, 3)
    assert first.image[0, 0].tolist() == [50, 100, 200]  # blue, green, red
    assert second.boxes.shape == (0, 4)
    assert second.targets.shape == (0, len(LABELS))
    assert (second.boxes.dtype, second.sure.dtype) == (np.float32, bool)


def test_undecided_teachers_give_no_expression(tmp_path):
    photos = write_photos(
        tmp_path, {"natural/a.png": "train"}, ["natural/a.png,10,10,60,70,sure,teacher,,"]
    )

    def target(*teachers):
        return photographs(photos, "natural", "train", teachers)[0].targets[0]

    assert not target().any()
    assert not target(Teacher(anger=0.45)).any()
    assert target(Teacher(anger=0.55)).tolist() == distribution(Teacher(anger=0.55))
    mean = target(Teacher(anger=0.9), Teacher(anger=0.3, fear=0.7))
    assert mean[LABELS.index("anger")] == pytest.approx(0.6)
    assert mean[LABELS.index("fear")] == pytest.approx(0.35 + 0.1 / 14)
    assert mean.sum() == pytest.approx(1)
    assert not target(Teacher(anger=0.9), Teacher(fear=0.9)).any()


def test_photographs_reads_one_collection_and_split(tmp_path):
    images = {"natural/a.png": "train", "natural/b.png": "val", "crowds/c.png": "train"}
    face = "10,10,60,70,sure,teacher,,"
    photos = write_photos(tmp_path, images, ["natural/b.png," + face])
    assert [len(each.boxes) for each in photographs(photos, "natural", "train", [])] == [0]
    assert [len(each.boxes) for each in photographs(photos, "natural", "val", [])] == [1]
    with pytest.raises(PhotosError, match=r"images\.csv|faces\.csv"):
        photographs(tmp_path / "nowhere", "natural", "train", [])


def test_unmarked_faces_of_the_finder_are_unsure(tmp_path):
    photos = write_photos(
        tmp_path,
        {"crowds/a.png": "train", "crowds/b.png": "train"},
        [
            "crowds/a.png,10,10,50,60,sure,human,,bare",
            "crowds/a.png,60,10,90,50,unsure,human,,bare",
        ],
    )
    on_first, on_second, beside = (14, 12, 52, 62), (62, 14, 88, 50), (20, 66, 50, 96)
    teacher = Teacher(happiness=0.9)
    finder = Finder(on_first, beside, on_second)
    first, second = photographs(photos, "crowds", "train", [teacher], finder)
    assert first.boxes.tolist() == [[10, 10, 50, 60], [60, 10, 90, 50], list(beside)]
    assert first.sure.tolist() == [True, False, False]
    assert first.targets.any(axis=1).tolist() == [True, False, False]
    assert second.boxes.tolist() == [list(on_first), list(beside), list(on_second)]
    assert not second.sure.any()
    assert not second.targets.any()
    assert len(teacher.requests) == 1


def test_target_of_a_portrait_mixes_the_label_and_the_teachers(tmp_path):
    images = {f"lfw-expressions/{name}.png": "train" for name in "abcd"}
    rows = [
        "a.png,70,10,95,40,unsure,teacher,,",
        "a.png,10,10,60,70,sure,teacher,sadness,",
        "a.png,64,50,100,90,sure,teacher,,",
        "b.png,10,10,60,70,sure,teacher,,",  # no label
        "c.png,10,10,60,70,sure,teacher,boredom,",  # an unknown label
        "d.png,20,20,60,70,sure,teacher,fear,",
        "e.png,10,10,60,70,sure,teacher,fear,",
    ]
    photos = write_photos(
        tmp_path,
        {**images, "lfw-expressions/e.png": "val", "natural/f.png": "train"},
        [f"lfw-expressions/{row}" for row in rows],
    )
    teachers = [Teacher(sadness=0.5), Teacher(neutral=0.9)]
    results = portraits(photos, "train", teachers, teacher_share=0.25)
    assert [len(each.boxes) for each in results] == [3, 1]
    first, second = results
    assert first.boxes[0].tolist() == [10, 10, 60, 70]
    assert first.boxes[1:].tolist() == [[70, 10, 95, 40], [64, 50, 100, 90]]
    assert first.sure.tolist() == [True, False, True]
    assert not first.targets[1:].any()
    mean = np.mean([[each.answer[label] for label in LABELS] for each in teachers], axis=0)
    expected = 0.25 * mean
    expected[LABELS.index("sadness")] += 0.75
    assert first.targets[0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert second.targets[0].argmax() == LABELS.index("fear")
    assert {requests for each in teachers for requests in each.requests} == {
        ((10, 10, 60, 70), GIVEN_SCALE),
        ((20, 20, 60, 70), GIVEN_SCALE),
    }
    for each in results:
        assert each.image.shape == (100, 120)
        assert each.image[0, 0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)


def test_target_of_a_portrait_without_teachers_is_the_label(tmp_path):
    photos = write_photos(
        tmp_path,
        {"lfw-expressions/a.png": "val"},
        ["lfw-expressions/a.png,10,10,60,70,sure,teacher,surprise,"],
    )
    (only_one,) = portraits(photos, "val", (), teacher_share=0.0)
    assert only_one.targets.tolist() == [np.eye(8)[LABELS.index("surprise")].tolist()]


def test_box_of_a_crop_is_the_box_of_yunet():
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    targets = np.eye(8, dtype=np.float32)[[4, 1, 6]]
    results = crops(faces, targets)
    assert len(results) == 3
    for each, face, target in zip(results, faces, targets, strict=True):
        assert np.array_equal(each.image, face)
        assert each.boxes.shape == (1, 4)
        assert each.boxes[0] / 48 == pytest.approx(FER_FACE)
        assert each.sure.tolist() == [True]
        assert each.targets.tolist() == [target.tolist()]


def test_quotas_limit_the_labels_of_each_class_and_keep_all_boxes():
    rare = flat_image({0: (0, 0, 9, 9), 1: (10, 0, 19, 9), 5: (20, 0, 29, 9)}, unsure={1})
    usual = flat_image({1: (10, 0, 19, 9), 5: (20, 0, 29, 9)})
    crowd = [replace(each) for each in [rare] * 3 + [usual] * 17]
    crowd += [flat_image({}), flat_image({1: (0, 0, 9, 9)}), flat_image({WHITE: (0, 0, 9, 9)})]
    unknown = flat_image({0: (0, 0, 9, 9)})
    crowd.append(replace(unknown, targets=np.zeros_like(unknown.targets)))
    results = with_quotas(crowd, 7, np.random.default_rng(0))
    counts = sum(each.targets.sum(axis=0) for each in results)
    assert counts.tolist() == [3, 7, 0, 0, 0, 7, 1, 0]
    for before, after in zip(crowd, results, strict=True):
        assert after.image is before.image
        assert np.array_equal(after.boxes, before.boxes)
        assert np.array_equal(after.sure, before.sure)
        assert after.targets.dtype == np.float32
        changed = (after.targets != before.targets).any(axis=1)
        assert not after.targets[changed].any()
    assert sum(each.targets.sum() for each in crowd) == 45  # the given images are unchanged
    again = with_quotas(crowd, 7, np.random.default_rng(0))
    other = with_quotas(crowd, 7, np.random.default_rng(1))
    assert all(map(same, results, again))
    assert not all(map(same, results, other))
    assert all(map(same, crowd, with_quotas(crowd, 100, np.random.default_rng(0))))

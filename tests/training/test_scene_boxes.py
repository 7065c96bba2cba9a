"""Boxes follow the faces in each operation on a scene."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.training.flat_scenes import (
    CROWD,
    GROUND,
    PALETTE,
    WHITE,
    assert_boxes_lie_on_faces,
    assert_no_face_lacks_a_box,
    assert_sound,
    box_lies_on_face,
    flat_image,
    only,
    same,
)
from training.data import scenes
from training.data.marked_images import (
    crops,
)
from training.data.scenes import Collection
from training.votes import LABELS


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("corner", [(0, 0), (13.4, 7.7), (-21.3, 0), (30.5, -9.6), (61, 44)])
def test_cut_moves_the_boxes(corner, scale):
    crowd = flat_image(CROWD)
    cut = scenes.cut(crowd, corner, scale, 150, 130)
    assert cut.image.shape == (130, 150, 3)
    assert assert_boxes_lie_on_faces(cut) >= 1
    assert_no_face_lacks_a_box(cut)
    mirrored = scenes.mirrored(cut)
    assert assert_boxes_lie_on_faces(mirrored) >= 1
    assert np.array_equal(mirrored.image[:, ::-1], cut.image)
    assert np.allclose(scenes.mirrored(mirrored).boxes, cut.boxes, atol=1e-3)


def test_cut_of_the_whole_image_is_the_image():
    crowd = flat_image(CROWD)
    assert same(scenes.cut(crowd, (0.0, 0.0), 1.0, 300, 240), crowd)


def test_cut_is_black_outside_of_the_image():
    cut = scenes.cut(flat_image({}), (-20.0, -10.0), 0.5, 200, 150)
    assert (cut.image[5:125, 10:160] == PALETTE[GROUND]).all()
    cut.image[5:125, 10:160] = 0
    assert not cut.image.any()


def test_shrinking_makes_no_patterns():
    fine = np.indices((200, 200)).sum(axis=0) % 2 * 255
    board = replace(flat_image({}), image=fine.astype(np.uint8))
    cut = scenes.cut(board, (0, 0), 0.3, 60, 60)
    assert np.abs(cut.image[1:-1, 1:-1].astype(int) - 128).max() < 45


@pytest.mark.parametrize("cover", [False, True])
@pytest.mark.parametrize("size_wh", [(160, 160), (170, 90), (70, 150)])
def test_view_moves_the_boxes(size_wh, cover):
    width, height = size_wh
    crowd = flat_image(CROWD)
    measured = 0
    for seed in range(60):
        view = scenes.view(crowd, width, height, np.random.default_rng(seed), cover=cover)
        assert view.image.shape == (height, width, 3)
        measured += assert_boxes_lie_on_faces(view)
        assert_no_face_lacks_a_box(view)
    assert measured > 60


def test_view_of_a_gray_image_moves_the_box():
    gray = flat_image({WHITE: (110, 60, 170, 140)}, gray=True)
    measured = 0
    for seed in range(40):
        view = scenes.view(gray, 160, 120, np.random.default_rng(seed))
        assert view.image.shape == (120, 160, 3)
        measured += assert_boxes_lie_on_faces(view)
    assert measured > 30


def test_view_contains_its_face(monkeypatch):
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 0)
    one = flat_image({0: (220, 20, 280, 96)})
    sides = []
    for seed in range(100):
        view = scenes.view(one, 160, 160, np.random.default_rng(seed))
        x1, y1, x2, y2 = view.boxes[0]
        assert x2 > x1
        assert y2 > y1
        sides.append(max(x2 - x1, y2 - y1))
    assert min(sides) < 30
    assert max(sides) > 110
    assert max(sides) <= 0.95 * 160 + 1


def test_whole_view_has_the_scale_of_serving(monkeypatch):
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 1)
    empty = flat_image({})
    for seed in range(30):
        small = scenes.view(empty, 400, 400, np.random.default_rng(seed))
        assert (small.image > 0).any(axis=(0, 2)).sum() == 300  # never enlarged
        assert (small.image > 0).any(axis=(1, 2)).sum() == 240
        shrunk = scenes.view(empty, 150, 150, np.random.default_rng(seed))
        assert (shrunk.image > 0).any(axis=(0, 2)).all()
        assert (shrunk.image > 0).any(axis=(1, 2)).sum() == 120


def test_covering_view_fills_the_scene_within_a_pixel():
    # Rounding of the two ends may leave one row or column uncovered.
    for seed in range(150):
        for each in (flat_image(CROWD), flat_image({}), flat_image({}, width=70, height=50)):
            view = scenes.view(each, 200, 170, np.random.default_rng(seed), cover=True)
            rows, columns = each.image.shape[:2]
            most = math.ceil(max(2.0, 200 / columns, 170 / rows))
            black = ~view.image.any(axis=2)
            assert not black[most:-most, most:-most].any()


def test_mosaic_moves_the_boxes():
    sources = only(
        flat_image(CROWD),
        flat_image({1: (60, 50, 130, 140)}),
        flat_image({4: (20, 20, 50, 60), 0: (70, 90, 150, 190)}, width=180, height=210),
        flat_image({WHITE: (20, 10, 110, 120)}, width=130, height=130, gray=True),
        flat_image({}),
    )
    measured, far = 0, 0
    for seed in range(80):
        mosaic = scenes.mosaic(sources, 200, 200, np.random.default_rng(seed))
        assert_sound(scenes.marked(mosaic), 200)
        measured += assert_boxes_lie_on_faces(mosaic)
        assert_no_face_lacks_a_box(mosaic)
        far += (mosaic.boxes[:, :2] > 100).all(axis=1).sum()
    assert measured > 200
    assert far > 10  # boxes in the last of the four parts


def test_parts_of_a_mosaic_cover_the_scene():
    """Each view fills the free room of the scene, so that only narrow areas stay black."""
    sources = only(flat_image({0: (30, 30, 70, 70)}, width=100, height=100))
    counts = []
    for seed in range(40):
        mosaic = scenes.mosaic(sources, 200, 160, np.random.default_rng(seed))
        assert mosaic.image.shape == (160, 200, 3)
        counts.append(len(mosaic.boxes))
        black = (mosaic.image == 0).all(axis=2)
        assert black.mean() < 0.35
    assert min(counts) == 1
    assert 4 < max(counts) <= (200 // scenes.LEAST_ROOM) * (160 // scenes.LEAST_ROOM)


@pytest.mark.parametrize("degrees", [-20, -7, 0, 11, 20])
def test_turned_moves_the_boxes(degrees):
    crowd = flat_image({0: (60, 50, 96, 90), 2: (190, 40, 226, 76), 3: (200, 150, 240, 200)})
    turned = scenes.turned(crowd, degrees)
    assert turned.sure.all()
    assert np.array_equal(turned.targets, crowd.targets)
    sides = turned.boxes[:, 2:] - turned.boxes[:, :2]
    assert np.allclose(sides, crowd.boxes[:, 2:] - crowd.boxes[:, :2], atol=1e-3)
    for box, target in zip(turned.boxes, turned.targets, strict=True):
        colour = PALETTE[target.argmax()]
        rows, columns = np.nonzero(np.abs(turned.image.astype(int) - colour).sum(axis=2) < 200)
        assert np.prod(box[2:] - box[:2]) == pytest.approx(len(rows), rel=0.05)
        middle = columns.mean() + 0.5, rows.mean() + 0.5
        assert np.allclose((box[:2] + box[2:]) / 2, middle, atol=0.75)


def test_turned_rotates_around_the_middle():
    turned = scenes.turned(flat_image({0: (130, 110, 170, 130)}), 20)
    assert turned.boxes[0].tolist() == pytest.approx([130, 110, 170, 130], abs=1e-3)


def test_face_turned_out_of_the_scene_becomes_unsure():
    corner = flat_image({0: (0, 0, 30, 30), 2: (135, 105, 165, 135)})
    turned = scenes.turned(corner, 20)
    assert turned.sure.tolist() == [False, True]
    assert (turned.boxes >= 0).all()


def test_pasted_faces_have_boxes(plain_pasting, monkeypatch):
    # One face, because another could cover it. Its rim equals the ground, so blending is invisible.
    monkeypatch.setattr(scenes, "PASTED_FACES", 1)
    head = flat_image({WHITE: (30, 25, 64, 70)}, width=100, height=100, gray=True)
    empty = flat_image({})
    sources = replace(only(empty), crops=Collection.of([head]), portraits=Collection.of([head]))
    measured = 0
    for seed in range(120):
        result = scenes.pasted(sources, 320, np.random.default_rng(seed))
        light = np.where(cv2.cvtColor(result.image, cv2.COLOR_BGR2GRAY) > 185, WHITE, GROUND)
        assert len(result.boxes) <= 1
        measured += sum(
            box_lies_on_face(result, index, light) for index in range(len(result.boxes))
        )
    assert measured > 100


def test_pasted_faces_have_their_expressions(plain_pasting):
    # Later labels have brighter faces.
    faces = (
        np.full((6, 48, 48), 60, np.uint8) + np.arange(0, 180, 30, dtype=np.uint8)[:, None, None]
    )
    targets = np.eye(8, dtype=np.float32)
    people = flat_image({}, width=60, height=60, gray=True)
    people = replace(
        people,
        image=np.full((60, 60), 240, np.uint8),
        boxes=np.array([(2, 0, 58, 60)], np.float32),
        sure=np.ones(1, bool),
        targets=targets[6:7],
    )
    sources = replace(
        only(replace(flat_image({}), image=np.full((240, 300, 3), 20, np.uint8))),
        crops=Collection.of(crops(faces, targets[:6])),
        portraits=Collection.of([people]),
    )
    seen, counts, right, large = np.zeros(8), [], [], 0
    for seed in range(60):
        result = scenes.pasted(sources, 320, np.random.default_rng(seed))
        light = cv2.cvtColor(result.image, cv2.COLOR_BGR2GRAY)
        seen += result.targets.sum(axis=0)
        counts.append(len(result.boxes))
        assert result.sure.all()
        large += counts[-1] == 1 and (result.boxes[0, 2:] - result.boxes[0, :2]).max() > 150
        for (x1, y1, x2, y2), target in zip(result.boxes, result.targets, strict=True):
            there = light[int((y1 + y2) / 2), int((x1 + x2) / 2)]
            right.append(abs(there - 60.0 - 30 * target.argmax()) < 12)
    assert np.mean(right) > 0.97  # some middles lie under the rim of another face
    assert (seen[:6] > 10).all()
    assert 0.15 < seen[6] / seen.sum() < 0.45
    assert min(counts) == 1
    assert max(counts) > 6
    assert large > 3


def test_pasted_faces_hardly_cover_faces_of_the_ground(plain_pasting, monkeypatch):
    monkeypatch.setattr(scenes, "GRAY_PASTE_SHARE", 0)
    flat = flat_image({}, width=40, height=40, gray=True)
    box, target = np.array([(0, 0, 40, 40)], np.float32), np.eye(8, dtype=np.float32)[7:]
    flat = Collection.of([replace(flat, boxes=box, sure=np.ones(1, bool), targets=target)])
    sources = replace(only(flat_image({})), crops=flat, portraits=flat)
    sources = replace(sources, views=((1.0, Collection.of([flat_image(CROWD)])),))
    shares = []
    for seed in range(100):
        result = scenes.pasted(sources, 320, np.random.default_rng(seed))
        for box, target in zip(result.boxes.round().astype(int), result.targets, strict=True):
            if target.argmax() != 7 and (box[2:] - box[:2]).min() > 8:
                face = result.image[box[1] : box[3], box[0] : box[2]].astype(int)
                distance = np.abs(face - PALETTE[target.argmax()]).sum(axis=2)
                shares.append((distance < 200).mean())
    assert len(shares) > 60
    assert min(shares) > 0.5
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("gray", [True, False])
def test_pasted_faces_have_colours_if_the_ground_has_colours(gray, plain_pasting, monkeypatch):
    monkeypatch.setattr(scenes, "GRAY_PASTE_SHARE", float(gray))
    ground = replace(flat_image({}), image=np.full((240, 300, 3), (140, 120, 90), np.uint8))
    head = flat_image({WHITE: (5, 0, 35, 40)}, width=40, height=40, gray=True)
    sources = replace(only(ground), crops=Collection.of([head]), portraits=Collection.of([head]))
    for seed in range(30):
        result = scenes.pasted(sources, 320, np.random.default_rng(seed))
        assert (np.ptp(result.image, axis=2).max() == 0) == gray
        dark = ~result.image.any(axis=2)
        assert dark.mean() < 0.02  # the ground covers the scene
        x1, y1, x2, y2 = result.boxes[-1].astype(int)
        blue, _, red = result.image[(y1 + y2) // 2, (x1 + x2) // 2].astype(int)
        assert gray or red > blue + 10


@pytest.mark.parametrize(
    ("corner", "sure", "box"),
    [
        ((0, 0), True, (40, 40, 80, 80)),
        ((56, 0), True, (0, 40, 24, 80)),
        ((64, 0), False, (0, 40, 16, 80)),
        ((0, 56), True, (40, 0, 80, 24)),
        ((0, 64), False, (40, 0, 80, 16)),
        ((-44, 0), True, (84, 40, 120, 80)),
        ((-64, 0), False, (104, 40, 120, 80)),
        ((0, -64), False, (40, 104, 80, 120)),
        ((48, 50), True, (0, 0, 32, 30)),  # .8 × .75 = .6
        ((54, 54), False, (0, 0, 26, 26)),  # .65² = .42
    ],
)
def test_face_with_less_than_half_inside_becomes_unsure(corner, sure, box):
    cut = scenes.cut(flat_image({0: (40, 40, 80, 80)}), corner, 1.0, 120, 120)
    assert cut.sure.tolist() == [sure]
    assert cut.boxes[0].tolist() == list(box)
    twice = scenes.cut(flat_image({0: (40, 40, 80, 80)}), corner, 2.0, 240, 240)
    assert twice.sure.tolist() == [sure]
    unsure = flat_image({0: (40, 40, 80, 80)}, unsure={0})
    assert not scenes.cut(unsure, corner, 1.0, 120, 120).sure.any()


def test_face_outside_of_the_cut_is_removed():
    cut = scenes.cut(
        flat_image({0: (10, 10, 30, 30), 2: (90, 90, 130, 130)}), (60, 60), 1.0, 90, 90
    )
    marked = scenes.marked(cut)
    assert marked.boxes.tolist() == [[30, 30, 70, 70]]
    assert marked.sure.tolist() == [True]
    assert marked.targets.argmax(axis=1).tolist() == [2]


def test_small_faces_have_no_expression_and_the_smallest_are_unsure():
    faces = {
        0: (0, 0, 7, 6),
        1: (20, 0, 28, 5),
        2: (40, 0, 60, 23),
        3: (80, 0, 104, 20),
        4: (120, 0, 160, 60),
        5: (180, 0, 190, 40),
    }
    marked = scenes.marked(flat_image(faces, unsure={5}))
    order = [4, 5, 3, 2, 1, 0]
    assert marked.boxes.tolist() == [list(faces[label]) for label in order]
    assert marked.sure.tolist() == [True, False, True, True, True, False]
    known = [4, 5, 3]
    assert marked.targets[:3].argmax(axis=1).tolist() == known
    assert marked.targets[:3].sum(axis=1).tolist() == [1, 1, 1]
    assert not marked.targets[3:].any()


def test_image_without_faces_gets_no_faces():
    for result in (
        scenes.marked(flat_image({})),
        scenes.mirrored(flat_image({})),
        scenes.turned(flat_image({}), 10),
        scenes.cut(flat_image({}), (3, 4), 0.7, 80, 80),
    ):
        assert result.boxes.shape == (0, 4)
        assert result.sure.shape == (0,)
        assert result.targets.shape == (0, len(LABELS))

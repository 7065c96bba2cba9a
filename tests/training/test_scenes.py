"""Training scenes by faces that are flat colours: boxes stay on them whatever is done to both."""

import csv
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from app.deadline import NEVER
from app.vision.image import crop_face
from app.vision.types import Box, Detection
from training.data import damage, pasting, scenes
from training.data.damage import spoil, without_colors
from training.data.pasting import OVERLAP, free_corner, paste, tinted
from training.data.photos import PhotosError
from training.data.pictures import (
    DRAWN_SCALE,
    FER_FACE,
    FEWEST_PIXELS,
    GIVEN_SCALE,
    Picture,
    crops,
    photographs,
    portraits,
    with_quotas,
)
from training.data.scenes import FEWEST_SIDE, MOST_FACES, Collection, Sources, scene
from training.votes import LABELS

# A face's expression says its colour, so a box, its target and the pixels can be held together.
# Corners of the colour cube on its middle: no blend of two of these is a third.
GROUND = 7  # and 8 is the black where a picture ends
PALETTE = np.array(
    [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255),
        (255, 255, 255), (128, 128, 128), (0, 0, 0),
    ],
)  # fmt: skip
WHITE = 6  # the one face that a grey picture can have
FEW_PIXELS = 4.0  # of a box that is too thin to be measured
WRONG_BY = 1.5  # pixels; sides of faces are whole numbers only before they are scaled

CROWD = {0: (20, 30, 38, 54), 2: (90, 20, 140, 80), 3: (200, 110, 284, 216), 5: (44, 140, 80, 190)}


def picture(faces, *, width=300, height=240, unsure=(), gray=False):
    """Faces {label: (x1, y1, x2, y2)} in their colours."""
    image = np.full((height, width, 3), PALETTE[GROUND], np.uint8)
    for label, (x1, y1, x2, y2) in faces.items():
        image[y1:y2, x1:x2] = PALETTE[label]
    return Picture(
        image[:, :, 0].copy() if gray else image,
        np.array(list(faces.values()), np.float32).reshape(-1, 4),
        np.array([label not in unsure for label in faces], bool),
        np.eye(len(LABELS), dtype=np.float32)[list(faces)].reshape(-1, len(LABELS)),
    )


def only(*pictures):
    """Sources that have nothing but these to draw from."""
    each = Collection.of(pictures)
    return Sources(((1.0, each),), empty=each, crops=each, portraits=each)


def assert_boxes_lie_on_faces(made):
    """Each box that has nothing of its own colour beside it ends where that colour ends. Returns
    how many were measured."""
    distances = [np.abs(made.image.astype(int) - color).sum(axis=2) for color in PALETTE]
    labels = np.argmin(distances, axis=0)
    return sum(_measured(made, index, labels) for index in range(len(made.boxes)))


def _measured(made, index, labels, around=6):
    height, width = labels.shape
    box, label = made.boxes[index].astype(float), made.targets[index].argmax()
    if (box[2:] - box[:2]).min() < FEW_PIXELS:
        return False
    x1, y1 = np.clip(np.floor(box[:2]).astype(int) - around, 0, None)
    x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + around, (width, height))
    beside = (made.targets.argmax(axis=1) == label) & (np.arange(len(made.boxes)) != index)
    low, high = made.boxes[beside, :2], made.boxes[beside, 2:]
    if ((low < (x2, y2)) & (high > (x1, y1)) & (high > low)).all(axis=1).any():
        return False
    rows, columns = np.nonzero(labels[y1:y2, x1:x2] == label)
    assert len(rows), f"no pixel of face {label} in or around {box}"
    seen = (columns.min() + x1, rows.min() + y1, columns.max() + 1 + x1, rows.max() + 1 + y1)
    assert np.abs(np.subtract(seen, box)).max() <= WRONG_BY, f"face {label}: {seen}, box {box}"
    inside = labels[round(box[1] + 1) : round(box[3] - 1), round(box[0] + 1) : round(box[2] - 1)]
    assert (inside == label).mean() > 0.99
    return True


def assert_no_face_lacks_a_box(made):
    near = [np.abs(made.image.astype(int) - color).sum(axis=2) < 60 for color in PALETTE[:GROUND]]
    seen = {label for label, pixels in enumerate(near) if pixels.sum() > 8}
    present = (made.boxes[:, 2:] > made.boxes[:, :2]).all(axis=1)
    assert seen <= set(made.targets[present].argmax(axis=1).tolist())


def assert_sound(made, side):
    assert made.image.shape == (side, side, 3)
    assert made.image.dtype == np.uint8
    assert made.image.flags.c_contiguous
    count = len(made.boxes)
    assert made.boxes.shape == (count, 4)
    assert made.sure.shape == (count,)
    assert made.targets.shape == (count, len(LABELS))
    assert (made.boxes.dtype, made.targets.dtype) == (np.float32, np.float32)
    assert made.sure.dtype == bool
    assert made.sure.sum() <= MOST_FACES
    assert (made.boxes >= 0).all()
    assert (made.boxes <= side).all()
    sides = made.boxes[:, 2:] - made.boxes[:, :2]
    assert (sides > 0).all()
    longer = sides.max(axis=1, initial=0)
    assert (np.diff(longer) <= 0).all()  # the largest first
    assert (longer[made.sure] >= FEWEST_SIDE).all()
    assert not made.targets[longer < FEWEST_PIXELS].any()
    sums = made.targets.sum(axis=1)
    assert np.isclose(sums, 0, atol=1e-4).sum() + np.isclose(sums, 1, atol=1e-4).sum() == count


@pytest.fixture(scope="module")
def sources():
    """Noisy photographs with 0 to 14 faces of 20 to 320 pixels, crops and portraits."""
    generator = np.random.default_rng(0)

    def photograph(count, longest):
        image = generator.integers(0, 256, (420, 560, 3), np.uint8)
        boxes = []
        for place in generator.permutation(15)[:count]:
            height = generator.uniform(20, longest)
            x, y = place % 5 * 112, place // 5 * 140
            boxes.append((x, y, x + 0.8 * height, y + height))
        count = len(boxes)
        targets = np.eye(8, dtype=np.float32)[generator.integers(0, 8, count)]
        return Picture(
            image,
            np.array(boxes, np.float32).reshape(-1, 4),
            generator.random(count) < 0.8,
            targets.reshape(-1, 8),
        )

    empty = Collection.of([photograph(0, 0) for _ in range(5)])
    few = Collection.of([photograph(1, 320) for _ in range(5)])
    many = Collection.of([photograph(14, 110) for _ in range(5)])
    faces = generator.integers(0, 256, (8, 48, 48), np.uint8)
    pasted = Collection.of(crops(faces, np.eye(8, dtype=np.float32)))
    head = replace(
        photograph(0, 0),
        image=generator.integers(0, 256, (256, 256), np.uint8),
        boxes=np.array([(20, 5, 230, 250)], np.float32),
        sure=np.ones(1, bool),
        targets=np.eye(8, dtype=np.float32)[:1],
    )
    return Sources(
        ((0.4, few), (0.25, empty), (0.2, many), (0.15, Collection.of([head]))),
        empty=empty,
        crops=pasted,
        portraits=Collection.of([head]),
    )


@pytest.fixture
def plain_pasting(monkeypatch):
    """Pieces keep their own light."""
    monkeypatch.setattr(pasting, "MATCH_SHARE", 0)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 0)


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("image", "boxes", "sure", "targets")
    )


# Scenes


def test_a_scene_is_its_number_whatever_was_made_before_and_beside_it(sources):
    numbers = range(24)

    def make(number):
        return scene(sources, number, side=96, seed=1)

    forwards = [make(number) for number in numbers]
    backwards = [make(number) for number in reversed(numbers)][::-1]
    with ThreadPoolExecutor(3) as pool:
        beside = list(pool.map(make, numbers))
    assert all(map(same, forwards, backwards))
    assert all(map(same, forwards, beside))
    images = {each.image.tobytes() for each in forwards}
    assert len(images) == len(numbers)
    others = {scene(sources, number, side=96, seed=2).image.tobytes() for number in numbers}
    assert not images & others


def test_making_scenes_leaves_what_they_are_made_of_as_it_is(sources):
    everything = [
        each
        for collection in (*(c for _, c in sources.views), sources.crops, sources.portraits)
        for each in collection.pictures
    ]
    before = [
        Picture(*(a.copy() for a in (p.image, p.boxes, p.sure, p.targets))) for p in everything
    ]
    for number in range(40):
        scene(sources, number, side=96, seed=5)
    assert all(map(same, before, everything))


def test_scenes_are_sound_and_hold_faces_of_all_sizes_in_all_numbers(sources):
    side = 416
    made = [scene(sources, number, side=side, seed=0) for number in range(200)]
    for each in made:
        assert_sound(each, side)
    sides = np.concatenate([(p.boxes[:, 2:] - p.boxes[:, :2]).max(axis=1)[p.sure] for p in made])
    assert sides.min() < 16
    assert 230 < sides.max() <= side
    for low, high in ((8, 24), (24, 48), (48, 96), (96, 192), (192, side)):
        assert ((sides >= low) & (sides < high)).mean() > 0.03, (low, high)
    counts = np.array([each.sure.sum() for each in made])
    assert 0.03 < (counts == 0).mean() < 0.4
    assert (counts == 1).mean() > 0.1
    assert ((counts > 1) & (counts < 12)).mean() > 0.2
    assert (counts >= 12).any()
    gray = [np.ptp(each.image, axis=2).max() == 0 for each in made]
    assert 0.2 < np.mean(gray) < 0.6
    unsure = [not each.sure.all() for each in made]
    assert 0.05 < np.mean(unsure) < 0.9


def test_only_the_largest_faces_of_a_great_crowd_must_be_found():
    places = [(x, y) for x in range(0, 300, 30) for y in range(0, 240, 30)]
    boxes = np.array([(x, y, x + 9 + n / 8, y + 9) for n, (x, y) in enumerate(places)], np.float32)
    sure = np.ones(len(boxes), bool)
    crowd = Picture(np.zeros((300, 300, 3), np.uint8), boxes, sure, np.zeros((80, 8), np.float32))
    marked = scenes._marked(crowd)
    assert len(marked.boxes) == len(boxes)
    assert marked.sure.sum() == MOST_FACES
    assert np.array_equal(marked.boxes[marked.sure], boxes[: -MOST_FACES - 1 : -1])


def test_without_mosaics_there_are_none(monkeypatch):
    monkeypatch.setattr(scenes, "PASTE_SHARE", 0)
    one = only(picture({0: (100, 80, 160, 150)}))
    numbers = range(40)
    mosaics = [len(scene(one, number, side=96, seed=0).boxes) for number in numbers]
    without = [len(scene(one, n, side=96, seed=0, mosaics=False).boxes) for n in numbers]
    assert max(mosaics) > 1
    assert max(without) == 1


def test_half_of_the_scenes_are_mirrored_and_a_quarter_turned(monkeypatch):
    monkeypatch.setattr(scenes, "PASTE_SHARE", 0)
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 1)
    pair = only(picture({0: (60, 90, 100, 130), 2: (180, 90, 220, 130)}))
    mirrored, turned = [], []
    for number in range(120):
        made = scene(pair, number, side=200, seed=0, mosaics=False)
        boxes = made.boxes[made.targets.argmax(axis=1).argsort()]
        if len(boxes) == 2 and made.targets.any(axis=1).all():
            mirrored.append(boxes[0, 0] > boxes[1, 0])
            turned.append(abs(boxes[0, 1] - boxes[1, 1]) > 0.1)
    assert len(mirrored) > 60
    assert 0.3 < np.mean(mirrored) < 0.7
    assert 0.1 < np.mean(turned) < 0.45


def test_pictures_are_drawn_by_their_weights():
    light, heavy, never = (picture({label: (0, 0, 9, 9)}) for label in range(3))
    drawn = Collection.of([light, never, heavy], np.array([1.0, 0.0, 3.0]))
    generator = np.random.default_rng(0)
    got = [drawn.draw(generator) for _ in range(400)]
    assert sum(each is never for each in got) == 0
    assert 0.68 < np.mean([each is heavy for each in got]) < 0.82
    both = replace(only(never), views=((1.0, Collection.of([light])), (3.0, drawn)))
    got = [both.draw(generator) for _ in range(400)]
    assert sum(each is never for each in got) == 0
    assert 0.36 < np.mean([each is light for each in got]) < 0.52


# Boxes stay on their faces


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("corner", [(0, 0), (13.4, 7.7), (-21.3, 0), (30.5, -9.6), (61, 44)])
def test_a_cut_takes_the_boxes_along(corner, scale):
    crowd = picture(CROWD)
    cut = scenes._cut(crowd, corner, scale, 150, 130)
    assert cut.image.shape == (130, 150, 3)
    assert assert_boxes_lie_on_faces(cut) >= 1
    assert_no_face_lacks_a_box(cut)
    mirrored = scenes._mirrored(cut)
    assert assert_boxes_lie_on_faces(mirrored) >= 1
    assert np.array_equal(mirrored.image[:, ::-1], cut.image)
    assert np.allclose(scenes._mirrored(mirrored).boxes, cut.boxes, atol=1e-3)


def test_a_cut_of_the_whole_is_the_picture_itself():
    crowd = picture(CROWD)
    assert same(scenes._cut(crowd, (0.0, 0.0), 1.0, 300, 240), crowd)


def test_a_cut_is_black_where_the_picture_ends():
    cut = scenes._cut(picture({}), (-20.0, -10.0), 0.5, 200, 150)
    assert (cut.image[5:125, 10:160] == PALETTE[GROUND]).all()
    cut.image[5:125, 10:160] = 0
    assert not cut.image.any()


def test_shrinking_makes_no_patterns():
    fine = np.indices((200, 200)).sum(axis=0) % 2 * 255
    board = replace(picture({}), image=fine.astype(np.uint8))
    cut = scenes._cut(board, (0, 0), 0.3, 60, 60)
    assert np.abs(cut.image[1:-1, 1:-1].astype(int) - 128).max() < 45


@pytest.mark.parametrize("cover", [False, True])
@pytest.mark.parametrize("size_wh", [(160, 160), (170, 90), (70, 150)])
def test_a_view_takes_the_boxes_along(size_wh, cover):
    width, height = size_wh
    crowd = picture(CROWD)
    measured = 0
    for seed in range(60):
        view = scenes._view(crowd, width, height, np.random.default_rng(seed), cover=cover)
        assert view.image.shape == (height, width, 3)
        measured += assert_boxes_lie_on_faces(view)
        assert_no_face_lacks_a_box(view)
    assert measured > 60


def test_a_view_of_a_gray_picture_takes_the_box_along():
    gray = picture({WHITE: (110, 60, 170, 140)}, gray=True)
    measured = 0
    for seed in range(40):
        view = scenes._view(gray, 160, 120, np.random.default_rng(seed))
        assert view.image.shape == (120, 160, 3)
        measured += assert_boxes_lie_on_faces(view)
    assert measured > 30


def test_a_view_holds_the_face_that_it_was_made_for(monkeypatch):
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 0)
    one = picture({0: (220, 20, 280, 96)})
    sides = []
    for seed in range(100):
        view = scenes._view(one, 160, 160, np.random.default_rng(seed))
        x1, y1, x2, y2 = view.boxes[0]
        assert x2 > x1
        assert y2 > y1
        sides.append(max(x2 - x1, y2 - y1))
    assert min(sides) < 30
    assert max(sides) > 110
    assert max(sides) <= 0.95 * 160 + 1


def test_a_whole_view_is_as_a_picture_is_served(monkeypatch):
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 1)
    empty = picture({})
    for seed in range(30):
        small = scenes._view(empty, 400, 400, np.random.default_rng(seed))
        assert (small.image > 0).any(axis=(0, 2)).sum() == 300  # never enlarged
        assert (small.image > 0).any(axis=(1, 2)).sum() == 240
        shrunk = scenes._view(empty, 150, 150, np.random.default_rng(seed))
        assert (shrunk.image > 0).any(axis=(0, 2)).all()
        assert (shrunk.image > 0).any(axis=(1, 2)).sum() == 120


def test_a_covering_view_leaves_no_more_than_a_pixel_of_the_picture_black():
    # Where its two ends are rounded apart, one row or column of the picture is missed.
    for seed in range(150):
        for each in (picture(CROWD), picture({}), picture({}, width=70, height=50)):
            view = scenes._view(each, 200, 170, np.random.default_rng(seed), cover=True)
            rows, columns = each.image.shape[:2]
            most = math.ceil(max(2.0, 200 / columns, 170 / rows))
            black = ~view.image.any(axis=2)
            assert not black[most:-most, most:-most].any()


def test_a_mosaic_takes_the_boxes_along():
    sources = only(
        picture(CROWD),
        picture({1: (60, 50, 130, 140)}),
        picture({4: (20, 20, 50, 60), 0: (70, 90, 150, 190)}, width=180, height=210),
        picture({WHITE: (20, 10, 110, 120)}, width=130, height=130, gray=True),
        picture({}),
    )
    measured, far = 0, 0
    for seed in range(80):
        mosaic = scenes._mosaic(sources, 200, 200, np.random.default_rng(seed))
        assert_sound(scenes._marked(mosaic), 200)
        measured += assert_boxes_lie_on_faces(mosaic)
        assert_no_face_lacks_a_box(mosaic)
        far += (mosaic.boxes[:, :2] > 100).all(axis=1).sum()
    assert measured > 200
    assert far > 10  # boxes in the last of the four


def test_the_parts_of_a_mosaic_cover_it():
    """Each view is as large as the scene leaves room for, so nothing but slivers stays black."""
    sources = only(picture({0: (30, 30, 70, 70)}, width=100, height=100))
    counts = []
    for seed in range(40):
        mosaic = scenes._mosaic(sources, 200, 160, np.random.default_rng(seed))
        assert mosaic.image.shape == (160, 200, 3)
        counts.append(len(mosaic.boxes))
        black = (mosaic.image == 0).all(axis=2)
        assert black.mean() < 0.35
    assert min(counts) == 1
    assert 4 < max(counts) <= (200 // scenes.LEAST_ROOM) * (160 // scenes.LEAST_ROOM)


@pytest.mark.parametrize("degrees", [-20, -7, 0, 11, 20])
def test_turning_takes_the_boxes_along(degrees):
    crowd = picture({0: (60, 50, 96, 90), 2: (190, 40, 226, 76), 3: (200, 150, 240, 200)})
    turned = scenes._turned(crowd, degrees)
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


def test_a_scene_is_turned_around_its_middle():
    turned = scenes._turned(picture({0: (130, 110, 170, 130)}), 20)
    assert turned.boxes[0].tolist() == pytest.approx([130, 110, 170, 130], abs=1e-3)


def test_what_is_turned_out_of_the_scene_is_no_longer_sure():
    corner = picture({0: (0, 0, 30, 30), 2: (135, 105, 165, 135)})
    turned = scenes._turned(corner, 20)
    assert turned.sure.tolist() == [False, True]
    assert (turned.boxes >= 0).all()


def test_pasted_faces_have_their_boxes(plain_pasting, monkeypatch):
    # One face, because the next may cover it; its rim is the ground, so that blending is not seen.
    monkeypatch.setattr(scenes, "PASTED_FACES", 1)
    head = picture({WHITE: (30, 25, 64, 70)}, width=100, height=100, gray=True)
    empty = picture({})
    sources = replace(only(empty), crops=Collection.of([head]), portraits=Collection.of([head]))
    measured = 0
    for seed in range(120):
        made = scenes._pasted(sources, 320, np.random.default_rng(seed))
        light = np.where(cv2.cvtColor(made.image, cv2.COLOR_BGR2GRAY) > 185, WHITE, GROUND)
        assert len(made.boxes) <= 1
        measured += sum(_measured(made, index, light) for index in range(len(made.boxes)))
    assert measured > 100


def test_pasted_faces_come_with_their_expressions(plain_pasting):
    # The brighter, the later in the order of labels.
    faces = (
        np.full((6, 48, 48), 60, np.uint8) + np.arange(0, 180, 30, dtype=np.uint8)[:, None, None]
    )
    targets = np.eye(8, dtype=np.float32)
    people = picture({}, width=60, height=60, gray=True)
    people = replace(
        people,
        image=np.full((60, 60), 240, np.uint8),
        boxes=np.array([(2, 0, 58, 60)], np.float32),
        sure=np.ones(1, bool),
        targets=targets[6:7],
    )
    sources = replace(
        only(replace(picture({}), image=np.full((240, 300, 3), 20, np.uint8))),
        crops=Collection.of(crops(faces, targets[:6])),
        portraits=Collection.of([people]),
    )
    seen, counts, right, large = np.zeros(8), [], [], 0
    for seed in range(60):
        made = scenes._pasted(sources, 320, np.random.default_rng(seed))
        light = cv2.cvtColor(made.image, cv2.COLOR_BGR2GRAY)
        seen += made.targets.sum(axis=0)
        counts.append(len(made.boxes))
        assert made.sure.all()
        large += counts[-1] == 1 and (made.boxes[0, 2:] - made.boxes[0, :2]).max() > 150
        for (x1, y1, x2, y2), target in zip(made.boxes, made.targets, strict=True):
            there = light[int((y1 + y2) / 2), int((x1 + x2) / 2)]
            right.append(abs(there - 60.0 - 30 * target.argmax()) < 12)
    assert np.mean(right) > 0.97  # of some the middle lies under the rim of another's picture
    assert (seen[:6] > 10).all()
    assert 0.15 < seen[6] / seen.sum() < 0.45
    assert min(counts) == 1
    assert max(counts) > 6
    assert large > 3


def test_what_is_pasted_hardly_covers_the_faces_of_the_ground(plain_pasting, monkeypatch):
    monkeypatch.setattr(scenes, "GRAY_PASTE_SHARE", 0)
    flat = picture({}, width=40, height=40, gray=True)
    box, target = np.array([(0, 0, 40, 40)], np.float32), np.eye(8, dtype=np.float32)[7:]
    flat = Collection.of([replace(flat, boxes=box, sure=np.ones(1, bool), targets=target)])
    sources = replace(only(picture({})), crops=flat, portraits=flat)
    sources = replace(sources, views=((1.0, Collection.of([picture(CROWD)])),))
    shares = []
    for seed in range(100):
        made = scenes._pasted(sources, 320, np.random.default_rng(seed))
        for box, target in zip(made.boxes.round().astype(int), made.targets, strict=True):
            if target.argmax() != 7 and (box[2:] - box[:2]).min() > 8:
                face = made.image[box[1] : box[3], box[0] : box[2]].astype(int)
                distance = np.abs(face - PALETTE[target.argmax()]).sum(axis=2)
                shares.append((distance < 200).mean())
    assert len(shares) > 60
    assert min(shares) > 0.5
    assert np.mean(shares) > 0.9


@pytest.mark.parametrize("gray", [True, False])
def test_what_is_pasted_has_colours_where_its_ground_has(gray, plain_pasting, monkeypatch):
    monkeypatch.setattr(scenes, "GRAY_PASTE_SHARE", float(gray))
    ground = replace(picture({}), image=np.full((240, 300, 3), (140, 120, 90), np.uint8))
    head = picture({WHITE: (5, 0, 35, 40)}, width=40, height=40, gray=True)
    sources = replace(only(ground), crops=Collection.of([head]), portraits=Collection.of([head]))
    for seed in range(30):
        made = scenes._pasted(sources, 320, np.random.default_rng(seed))
        assert (np.ptp(made.image, axis=2).max() == 0) == gray
        dark = ~made.image.any(axis=2)
        assert dark.mean() < 0.02  # the ground covers the scene
        x1, y1, x2, y2 = made.boxes[-1].astype(int)
        blue, _, red = made.image[(y1 + y2) // 2, (x1 + x2) // 2].astype(int)
        assert gray or red > blue + 10


# What counts


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
def test_a_face_of_which_less_than_half_is_left_is_no_longer_sure(corner, sure, box):
    cut = scenes._cut(picture({0: (40, 40, 80, 80)}), corner, 1.0, 120, 120)
    assert cut.sure.tolist() == [sure]
    assert cut.boxes[0].tolist() == list(box)
    twice = scenes._cut(picture({0: (40, 40, 80, 80)}), corner, 2.0, 240, 240)
    assert twice.sure.tolist() == [sure]
    unsure = picture({0: (40, 40, 80, 80)}, unsure={0})
    assert not scenes._cut(unsure, corner, 1.0, 120, 120).sure.any()


def test_a_face_of_which_nothing_is_left_goes():
    cut = scenes._cut(picture({0: (10, 10, 30, 30), 2: (90, 90, 130, 130)}), (60, 60), 1.0, 90, 90)
    marked = scenes._marked(cut)
    assert marked.boxes.tolist() == [[30, 30, 70, 70]]
    assert marked.sure.tolist() == [True]
    assert marked.targets.argmax(axis=1).tolist() == [2]


def test_small_faces_have_no_expression_and_the_smallest_are_not_sure():
    faces = {
        0: (0, 0, 7, 6),
        1: (20, 0, 28, 5),
        2: (40, 0, 60, 23),
        3: (80, 0, 104, 20),
        4: (120, 0, 160, 60),
        5: (180, 0, 190, 40),
    }
    marked = scenes._marked(picture(faces, unsure={5}))
    order = [4, 5, 3, 2, 1, 0]
    assert marked.boxes.tolist() == [list(faces[label]) for label in order]
    assert marked.sure.tolist() == [True, False, True, True, True, False]
    known = [4, 5, 3]
    assert marked.targets[:3].argmax(axis=1).tolist() == known
    assert marked.targets[:3].sum(axis=1).tolist() == [1, 1, 1]
    assert not marked.targets[3:].any()


def test_a_picture_without_faces_stays_one():
    for made in (
        scenes._marked(picture({})),
        scenes._mirrored(picture({})),
        scenes._turned(picture({}), 10),
        scenes._cut(picture({}), (3, 4), 0.7, 80, 80),
    ):
        assert made.boxes.shape == (0, 4)
        assert made.sure.shape == (0,)
        assert made.targets.shape == (0, len(LABELS))


# Pasting


def shared_area(first, second):
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    return np.prod(np.clip(high - low, 0, None))


def test_a_free_corner_keeps_the_face_inside_and_off_the_others():
    taken = np.array([(20, 20, 80, 90), (120, 60, 150, 90), (60, 140, 160, 190)], np.float32)
    found = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        x1, y1, width, height = generator.uniform((0, 0, 10, 10), (40, 40, 70, 80))
        box = np.array((x1, y1, x1 + width, y1 + height), np.float32)
        corner = free_corner(box, taken, 200, generator)
        if corner is None:
            continue
        found += 1
        assert all(isinstance(value, int) for value in corner)
        placed = box + np.tile(corner, 2)
        size = np.array((width, height))
        assert (placed[:2] >= -0.1 * size - 1).all()
        assert (placed[2:] <= 200 + 0.1 * size + 1).all()
        for other in taken:
            smaller = min(width * height, np.prod(other[2:] - other[:2]))
            rounding = width + height  # half a pixel along each side
            assert shared_area(placed, other) <= OVERLAP * smaller + rounding
    assert 300 < found < 400


def test_a_free_corner_reaches_all_of_an_empty_scene():
    box, nothing = np.array((5, 10, 45, 60), np.float32), np.zeros((0, 4), np.float32)
    corners = [free_corner(box, nothing, 200, np.random.default_rng(n)) for n in range(200)]
    places = np.array(corners) + box[:2]
    assert (places.min(axis=0) < (10, 10)).all()
    assert (places.max(axis=0) > (150, 140)).all()


def test_there_is_no_free_corner_where_all_is_taken_or_the_face_too_large():
    box = np.array((0, 0, 40, 40), np.float32)
    nothing, everything = np.zeros((0, 4), np.float32), np.array([(0, 0, 200, 200)], np.float32)
    large = np.array((0, 0, 150, 201), np.float32)
    for seed in range(50):
        assert free_corner(box, everything, 200, np.random.default_rng(seed)) is None
        assert free_corner(large, nothing, 200, np.random.default_rng(seed)) is None


@pytest.mark.parametrize(
    "corner", [(-31, 5), (5, -21), (100, 5), (5, 80), (500, 500), (-500, -500), (-30, 10), (99, 9)]
)
def test_a_piece_beside_the_scene_changes_nothing(corner):
    piece = np.full((20, 30, 3), 250, np.uint8)
    for seed in range(20):
        ground = np.full((80, 100, 3), 90, np.uint8)
        paste(ground, piece, *corner, np.random.default_rng(seed))
        assert (ground == 90).all()


@pytest.mark.parametrize("corner", [(-12, 5), (60, -9), (83, 66), (-7, 70), (-20, -20)])
def test_a_piece_over_the_edge_is_cut_there(corner, plain_pasting):
    generator = np.random.default_rng(0)
    piece = generator.integers(0, 256, (60, 50, 3), np.uint8)
    wide = generator.integers(0, 256, (240, 260, 3), np.uint8)
    scene_of = (slice(80, 160), slice(80, 180))
    for seed in range(30):
        expected, ground = wide.copy(), wide[scene_of].copy()
        paste(expected, piece, corner[0] + 80, corner[1] + 80, np.random.default_rng(seed))
        paste(ground, piece, *corner, np.random.default_rng(seed))
        assert np.array_equal(ground, expected[scene_of])
        assert not np.array_equal(ground, wide[scene_of])


def test_the_middle_of_what_is_pasted_is_the_piece(plain_pasting):
    generator = np.random.default_rng(0)
    piece = generator.integers(120, 256, (60, 50, 3), np.uint8)
    before = piece.copy()
    hard, round_, soft = 0, 0, 0
    for seed in range(80):
        ground = np.full((100, 120, 3), 10, np.uint8)
        paste(ground, piece, 40, 20, np.random.default_rng(seed))
        pasted = ground[20:80, 40:90].copy()
        difference = np.abs(pasted[18:42, 15:35].astype(int) - piece[18:42, 15:35])
        assert difference.max() <= 1  # blending cuts fractions off
        ground[20:80, 40:90] = 10
        assert (ground == 10).all()
        hard += np.array_equal(pasted, piece)
        round_ += pasted[:3, :3].max() < 30
        soft += (np.abs(pasted[:, 25].astype(int) - piece[:, 25]) > 5).any()
    assert np.array_equal(piece, before)
    assert 5 < hard < 35
    assert round_ > 20
    assert soft > 20


def test_a_cloned_piece_lies_where_it_was_put(plain_pasting, monkeypatch):
    # Its rim is the ground, so that there is no light to adapt to.
    monkeypatch.setattr(pasting, "CLONE_SHARE", 1)
    for height, width in ((60, 50), (61, 50), (60, 51), (33, 47)):
        piece = np.full((height, width, 3), 128, np.uint8)
        piece[12:25, 9:31] = (30, 90, 240)
        ground = np.full((120, 140, 3), 128, np.uint8)
        paste(ground, piece, 40, 20, np.random.default_rng(0))
        expected = np.full_like(ground, 128)
        expected[20 : 20 + height, 40 : 40 + width] = piece
        assert np.abs(ground.astype(int) - expected).max() <= 2


def test_a_cloned_piece_takes_the_light_of_its_place(monkeypatch):
    monkeypatch.setattr(pasting, "MATCH_SHARE", 0)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 1)
    ground = np.full((120, 140, 3), 200, np.uint8)
    paste(ground, np.full((50, 40, 3), 60, np.uint8), 40, 20, np.random.default_rng(0))
    assert np.abs(ground.astype(int) - 200).max() <= 2


def test_light_is_moved_towards_that_of_the_place(monkeypatch):
    monkeypatch.setattr(pasting, "MATCH_SHARE", 1)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 0)
    piece = np.full((60, 50, 3), 60, np.uint8)
    for place, low, high in ((200, 80, 125), (80, 66, 82), (10, 8, 42)):
        middles = []
        for seed in range(40):
            ground = np.full((100, 120, 3), place, np.uint8)
            paste(ground, piece, 40, 20, np.random.default_rng(seed))
            middles.append(ground[45:55, 60:70].mean())
        assert low <= min(middles) < max(middles) <= high
    assert (piece == 60).all()


def test_skin_is_red_before_green_before_blue_and_as_bright_as_the_gray_was():
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    tones = set()
    for seed in range(60):
        colored = tinted(ramp, np.random.default_rng(seed))
        assert colored.shape == (2, 256, 3)
        assert colored.dtype == np.uint8
        blue, green, red = colored[0, 30:200].astype(int).T
        assert (red > green).all()
        assert (green > blue).all()
        bright = colored[0] @ np.array((0.114, 0.587, 0.299))
        assert (np.diff(bright) >= 0).all()
        assert np.diff(colored[0].astype(int), axis=0).min() >= 0
        assert np.abs(bright - np.arange(256))[:160].max() < 2
        tones.add(tuple(colored[0, 128].tolist()))
    assert len(tones) > 20


# Damage


def test_damage_is_a_copy_of_the_same_kind_and_the_same_by_seed():
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    before = image.copy()
    made = [spoil(image, np.random.default_rng(seed)) for seed in range(60)]
    again = [spoil(image, np.random.default_rng(seed)) for seed in range(60)]
    for first, second in zip(made, again, strict=True):
        assert first.shape == image.shape
        assert first.dtype == np.uint8
        assert not np.shares_memory(first, image)
        assert np.array_equal(first, second)
    assert len({each.tobytes() for each in made}) == len(made)
    assert np.array_equal(image, before)


def test_damage_takes_the_colours_of_some():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    gray = [np.ptp(spoil(image, np.random.default_rng(n)), axis=2).max() == 0 for n in range(300)]
    assert abs(np.mean(gray) - damage.GRAY_SHARE) < 0.1
    flat = np.full((16, 16, 3), 128, np.uint8)
    cast = [np.ptp(spoil(flat, np.random.default_rng(n)), axis=2).max() > 5 for n in range(300)]
    assert 0.4 < np.mean(cast) < 1 - damage.GRAY_SHARE + 0.1
    without = without_colors(image)
    assert np.ptp(without, axis=2).max() == 0
    assert np.array_equal(without[:, :, 0], cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def test_damage_moves_nothing():
    image = np.full((120, 160, 3), 60, np.uint8)
    image[30:70, 40:100] = 190
    for seed in range(100):
        light = spoil(image, np.random.default_rng(seed)).mean(axis=2)
        middle = (light[50, 70] + light[100, 130]) / 2
        rows, columns = np.nonzero(cv2.blur(light, (3, 3)) > middle)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.abs(np.subtract(found, (40, 30, 100, 70))).max() <= 3


# What scenes are made of


class Teacher:
    """Says the same of each face; `asked` are the boxes and scales that it was asked for."""

    def __init__(self, **shares):
        rest = (1 - sum(shares.values())) / (len(LABELS) - len(shares))
        self.answer = {label: shares.get(label, rest) for label in reversed(LABELS)}
        self.asked = []

    def classify(self, gray, boxes, *, box_scale=1.0):
        assert gray.ndim == 2
        self.asked += [(box.xyxy, box_scale) for box in boxes]
        return [self.answer for _ in boxes]


class Finder:
    def __init__(self, *boxes):
        self.boxes = boxes

    def detect(self, raster, min_face_px, deadline=NEVER):
        assert raster.bgr.ndim == 3
        return [Detection(Box(*box), 0.9) for box in self.boxes]


def write_photos(folder, images, faces):
    """`images` {name: split}, one colour each; `faces` rows of faces.csv from the name on."""
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


def test_only_bare_faces_that_are_sure_and_large_enough_are_named(tmp_path):
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
    # Boxes that people drew are wider than those of YuNet.
    assert teacher.asked == [
        ((0, 10, 18, 40), GIVEN_SCALE),
        ((20, 10, 38, 40), DRAWN_SCALE),
        ((50, 60, 74, 83), GIVEN_SCALE),
    ]
    assert first.image.shape == (100, 120, 3)
    assert first.image[0, 0].tolist() == [50, 100, 200]  # blue, green, red
    assert second.boxes.shape == (0, 4)
    assert second.targets.shape == (0, len(LABELS))
    assert (second.boxes.dtype, second.sure.dtype) == (np.float32, bool)


def test_teachers_that_are_undecided_together_say_nothing(tmp_path):
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


def test_photographs_are_of_one_collection_and_split(tmp_path):
    images = {"natural/a.png": "train", "natural/b.png": "val", "crowds/c.png": "train"}
    face = "10,10,60,70,sure,teacher,,"
    photos = write_photos(tmp_path, images, ["natural/b.png," + face])
    assert [len(each.boxes) for each in photographs(photos, "natural", "train", [])] == [0]
    assert [len(each.boxes) for each in photographs(photos, "natural", "val", [])] == [1]
    with pytest.raises(PhotosError, match=r"images\.csv|faces\.csv"):
        photographs(tmp_path / "nowhere", "natural", "train", [])


def test_what_a_finder_sees_beside_the_marked_faces_is_not_sure(tmp_path):
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
    assert len(teacher.asked) == 1


def test_a_portrait_is_named_by_a_person_and_the_teachers(tmp_path):
    images = {f"lfw-expressions/{name}.png": "train" for name in "abcd"}
    rows = [
        "a.png,70,10,95,40,unsure,teacher,,",
        "a.png,10,10,60,70,sure,teacher,sadness,",
        "a.png,64,50,100,90,sure,teacher,,",
        "b.png,10,10,60,70,sure,teacher,,",  # nobody named it
        "c.png,10,10,60,70,sure,teacher,boredom,",  # no class of ours
        "d.png,20,20,60,70,sure,teacher,fear,",
        "e.png,10,10,60,70,sure,teacher,fear,",
    ]
    photos = write_photos(
        tmp_path,
        {**images, "lfw-expressions/e.png": "val", "natural/f.png": "train"},
        [f"lfw-expressions/{row}" for row in rows],
    )
    teachers = [Teacher(sadness=0.5), Teacher(neutral=0.9)]
    made = portraits(photos, "train", teachers, teacher_share=0.25)
    assert [len(each.boxes) for each in made] == [3, 1]
    first, second = made
    assert first.boxes[0].tolist() == [10, 10, 60, 70]
    assert first.boxes[1:].tolist() == [[70, 10, 95, 40], [64, 50, 100, 90]]
    assert first.sure.tolist() == [True, False, True]
    assert not first.targets[1:].any()
    mean = np.mean([[each.answer[label] for label in LABELS] for each in teachers], axis=0)
    expected = 0.25 * mean
    expected[LABELS.index("sadness")] += 0.75
    assert first.targets[0].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert second.targets[0].argmax() == LABELS.index("fear")
    assert {asked for each in teachers for asked in each.asked} == {
        ((10, 10, 60, 70), GIVEN_SCALE),
        ((20, 20, 60, 70), GIVEN_SCALE),
    }
    for each in made:
        assert each.image.shape == (100, 120)
        assert each.image[0, 0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)


def test_a_portrait_without_teachers_is_what_the_person_said(tmp_path):
    photos = write_photos(
        tmp_path,
        {"lfw-expressions/a.png": "val"},
        ["lfw-expressions/a.png,10,10,60,70,sure,teacher,surprise,"],
    )
    (only_one,) = portraits(photos, "val", (), teacher_share=0.0)
    assert only_one.targets.tolist() == [np.eye(8)[LABELS.index("surprise")].tolist()]


def test_the_face_of_a_crop_lies_where_yunet_found_it():
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    targets = np.eye(8, dtype=np.float32)[[4, 1, 6]]
    made = crops(faces, targets)
    assert len(made) == 3
    for each, face, target in zip(made, faces, targets, strict=True):
        assert np.array_equal(each.image, face)
        assert each.boxes.shape == (1, 4)
        assert each.boxes[0] / 48 == pytest.approx(FER_FACE)
        assert each.sure.tolist() == [True]
        assert each.targets.tolist() == [target.tolist()]


def test_quotas_leave_so_many_of_each_class_and_all_boxes():
    rare = picture({0: (0, 0, 9, 9), 1: (10, 0, 19, 9), 5: (20, 0, 29, 9)}, unsure={1})
    usual = picture({1: (10, 0, 19, 9), 5: (20, 0, 29, 9)})
    crowd = [replace(each) for each in [rare] * 3 + [usual] * 17]
    crowd += [picture({}), picture({1: (0, 0, 9, 9)}), picture({WHITE: (0, 0, 9, 9)})]
    unknown = picture({0: (0, 0, 9, 9)})
    crowd.append(replace(unknown, targets=np.zeros_like(unknown.targets)))
    made = with_quotas(crowd, 7, np.random.default_rng(0))
    counts = sum(each.targets.sum(axis=0) for each in made)
    assert counts.tolist() == [3, 7, 0, 0, 0, 7, 1, 0]
    for before, after in zip(crowd, made, strict=True):
        assert after.image is before.image
        assert np.array_equal(after.boxes, before.boxes)
        assert np.array_equal(after.sure, before.sure)
        assert after.targets.dtype == np.float32
        changed = (after.targets != before.targets).any(axis=1)
        assert not after.targets[changed].any()
    assert sum(each.targets.sum() for each in crowd) == 45  # those given are as they were
    again = with_quotas(crowd, 7, np.random.default_rng(0))
    other = with_quotas(crowd, 7, np.random.default_rng(1))
    assert all(map(same, made, again))
    assert not all(map(same, made, other))
    assert all(map(same, crowd, with_quotas(crowd, 100, np.random.default_rng(0))))


# Real photographs


def few_photos(photos, folder):
    """Some validation pictures of each collection, with faces and without."""

    def rows_of(name):
        with (photos / name).open(newline="") as file:
            return list(csv.DictReader(file))

    def write(name, rows):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    faces = rows_of("faces.csv")
    with_faces = {row["image"] for row in faces}
    chosen = []
    for collection in ("natural", "crowds", "lfw-expressions"):
        (folder / collection).symlink_to(photos / collection)
        own = [row for row in rows_of("images.csv") if row["image"].startswith(f"{collection}/")]
        own = [row for row in own if row["split"] == "val"]
        chosen += [row for row in own if row["image"] in with_faces][:4]
        chosen += [row for row in own if row["image"] not in with_faces][:3]
    write("images.csv", chosen)
    names = {row["image"] for row in chosen}
    write("faces.csv", [row for row in faces if row["image"] in names])
    return folder


def test_scenes_of_real_photographs_are_sound(shared: Path, tmp_path):
    photos = few_photos(shared / "photos", tmp_path)
    natural = photographs(photos, "natural", "val", ())
    crowds = photographs(photos, "crowds", "val", ())
    people = portraits(photos, "val", (), teacher_share=0.0)
    assert all(each.image.shape[2] == 3 for each in [*natural, *crowds])
    assert all(each.image.shape == (256, 256) for each in people)
    for each in [*natural, *crowds, *people]:
        size_wh = each.image.shape[1::-1]
        middles = (each.boxes[:, :2] + each.boxes[:, 2:]) / 2
        assert ((middles > 0) & (middles < size_wh)).all()
    faces = np.stack([crop_face(p.image, Box(*p.boxes[0].tolist()), size=48) for p in people])
    sources = Sources(
        ((0.6, Collection.of([*natural, *crowds])), (0.4, Collection.of(people))),
        empty=Collection.of([each for each in natural if not len(each.boxes)]),
        crops=Collection.of(crops(faces, np.concatenate([p.targets[:1] for p in people]))),
        portraits=Collection.of(people),
    )
    made = [scene(sources, number, side=320, seed=0) for number in range(40)]
    for each in made:
        assert_sound(each, 320)
    assert sum(each.sure.sum() for each in made) > 40
    assert sum(each.targets.any(axis=1).sum() for each in made) > 10

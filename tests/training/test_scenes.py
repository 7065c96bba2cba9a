"""Scenes are valid, and depend only on their number and the seed."""

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.vision.image import crop_face
from app.vision.types import Box
from tests.training.flat_scenes import (
    assert_sound,
    flat_image,
    only,
    same,
)
from training.data import scene_geometry, scenes
from training.data.annotated_images import (
    AnnotatedImage,
    crops,
    photographs,
    portraits,
)
from training.data.scene_geometry import MAX_SURE_FACES
from training.data.scenes import Collection, Sources, scene


def test_scene_depends_only_on_its_number_and_the_seed(sources):
    numbers = range(24)

    def make(number):
        return scene(sources, number, side=96, seed=1)

    forwards = [make(number) for number in numbers]
    backwards = [make(number) for number in reversed(numbers)][::-1]
    with ThreadPoolExecutor(3) as pool:
        in_parallel = list(pool.map(make, numbers))
    assert all(map(same, forwards, backwards))
    assert all(map(same, forwards, in_parallel))
    images = {each.image.tobytes() for each in forwards}
    assert len(images) == len(numbers)
    other_seed = {scene(sources, number, side=96, seed=2).image.tobytes() for number in numbers}
    assert not images & other_seed


def test_making_scenes_does_not_change_the_sources(sources):
    everything = [
        each
        for collection in (*(c for _, c in sources.views), sources.crops, sources.portraits)
        for each in collection.images
    ]
    before = [
        AnnotatedImage(*(a.copy() for a in (p.image, p.boxes, p.sure, p.targets)))
        for p in everything
    ]
    for number in range(40):
        scene(sources, number, side=96, seed=5)
    assert all(map(same, before, everything))


def test_scenes_are_valid_and_have_faces_of_all_sizes_and_counts(sources):
    side = 416
    results = [scene(sources, number, side=side, seed=0) for number in range(200)]
    for each in results:
        assert_sound(each, side)
    sides = np.concatenate([(p.boxes[:, 2:] - p.boxes[:, :2]).max(axis=1)[p.sure] for p in results])
    assert sides.min() < 16
    assert 230 < sides.max() <= side
    for low, high in ((8, 24), (24, 48), (48, 96), (96, 192), (192, side)):
        assert ((sides >= low) & (sides < high)).mean() > 0.03, (low, high)
    counts = np.array([each.sure.sum() for each in results])
    assert 0.03 < (counts == 0).mean() < 0.4
    assert (counts == 1).mean() > 0.1
    assert ((counts > 1) & (counts < 12)).mean() > 0.2
    assert (counts >= 12).any()
    gray = [np.ptp(each.image, axis=2).max() == 0 for each in results]
    assert 0.2 < np.mean(gray) < 0.6
    unsure = [not each.sure.all() for each in results]
    assert 0.05 < np.mean(unsure) < 0.9


def test_only_the_largest_faces_of_a_crowd_are_sure():
    places = [(x, y) for x in range(0, 300, 30) for y in range(0, 240, 30)]
    boxes = np.array([(x, y, x + 9 + n / 8, y + 9) for n, (x, y) in enumerate(places)], np.float32)
    sure = np.ones(len(boxes), bool)
    crowd = AnnotatedImage(
        np.zeros((300, 300, 3), np.uint8), boxes, sure, np.zeros((80, 8), np.float32)
    )
    marked = scene_geometry.finished(crowd)
    assert len(marked.boxes) == len(boxes)
    assert marked.sure.sum() == MAX_SURE_FACES
    assert np.array_equal(marked.boxes[marked.sure], boxes[: -MAX_SURE_FACES - 1 : -1])


def test_scenes_without_mosaics_show_one_image(monkeypatch):
    monkeypatch.setattr(scenes, "PASTE_SHARE", 0)
    one = only(flat_image({0: (100, 80, 160, 150)}))
    numbers = range(40)
    mosaics = [len(scene(one, number, side=96, seed=0).boxes) for number in numbers]
    without = [len(scene(one, n, side=96, seed=0, mosaics=False).boxes) for n in numbers]
    assert max(mosaics) > 1
    assert max(without) == 1


def test_half_of_the_scenes_are_mirrored_and_a_quarter_rotated(monkeypatch):
    monkeypatch.setattr(scenes, "PASTE_SHARE", 0)
    monkeypatch.setattr(scenes, "WHOLE_SHARE", 1)
    pair = only(flat_image({0: (60, 90, 100, 130), 2: (180, 90, 220, 130)}))
    mirrored, rotated = [], []
    for number in range(120):
        result = scene(pair, number, side=200, seed=0, mosaics=False)
        boxes = result.boxes[result.targets.argmax(axis=1).argsort()]
        if len(boxes) == 2 and result.targets.any(axis=1).all():
            mirrored.append(boxes[0, 0] > boxes[1, 0])
            rotated.append(abs(boxes[0, 1] - boxes[1, 1]) > 0.1)
    assert len(mirrored) > 60
    assert 0.3 < np.mean(mirrored) < 0.7
    assert 0.1 < np.mean(rotated) < 0.45


def test_images_are_drawn_by_their_weights():
    light, heavy, never = (flat_image({label: (0, 0, 9, 9)}) for label in range(3))
    drawn = Collection.of([light, never, heavy], np.array([1.0, 0.0, 3.0]))
    generator = np.random.default_rng(0)
    got = [drawn.draw(generator) for _ in range(400)]
    assert sum(each is never for each in got) == 0
    assert 0.68 < np.mean([each is heavy for each in got]) < 0.82
    both = replace(only(never), views=((1.0, Collection.of([light])), (3.0, drawn)))
    got = [both.draw(generator) for _ in range(400)]
    assert sum(each is never for each in got) == 0
    assert 0.36 < np.mean([each is light for each in got]) < 0.52


def few_photos(photos, folder):
    """Copy some validation images of each collection, with and without faces."""

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
        of_collection = [
            row for row in rows_of("images.csv") if row["image"].startswith(f"{collection}/")
        ]
        of_collection = [row for row in of_collection if row["split"] == "val"]
        chosen += [row for row in of_collection if row["image"] in with_faces][:4]
        chosen += [row for row in of_collection if row["image"] not in with_faces][:3]
    write("images.csv", chosen)
    names = {row["image"] for row in chosen}
    write("faces.csv", [row for row in faces if row["image"] in names])
    return folder


def test_scenes_of_real_photographs_are_valid(shared: Path, tmp_path):
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
    results = [scene(sources, number, side=320, seed=0) for number in range(40)]
    for each in results:
        assert_sound(each, 320)
    assert sum(each.sure.sum() for each in results) > 40
    assert sum(each.targets.any(axis=1).sum() for each in results) > 10

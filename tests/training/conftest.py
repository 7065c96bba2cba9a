"""Images, crops and portraits from which tests compose scenes, and a folder for training runs."""

from dataclasses import replace

import numpy as np
import pytest

from training.data import pasting
from training.data.annotated_images import (
    AnnotatedImage,
    crops,
)
from training.data.scenes import Collection, Sources


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
        return AnnotatedImage(
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
    """Pasting does not adapt the light of a piece to the scene."""
    monkeypatch.setattr(pasting, "MATCH_SHARE", 0)
    monkeypatch.setattr(pasting, "CLONE_SHARE", 0)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The current folder, with the files for runs of `tiny_run`."""
    import torch

    from tests.training.tiny_run import write_workplace

    write_workplace(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path

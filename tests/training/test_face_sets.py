"""Sets of faces: writing, reading, canvases and folds."""

import cv2
import numpy as np
import pytest

from app.vision.image import Raster
from training import pack
from training.data.face_sets import MARGIN, FaceSet, canvas_side, read_set, write_set
from training.data.split import DataError


def faces(images, margin=1.0, **known):
    count = len(images)
    return FaceSet(
        images=images,
        targets=known.get("targets", np.eye(8, dtype=np.float32)[np.arange(count) % 8]),
        margin=margin,
        sure=known.get("sure", np.arange(count) % 2 == 0),
        folds=known.get("folds", (np.arange(count) % 4).astype(np.int8)),
    )


def smooth(count, side, seed=0):
    """Return different images with little loss in JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 5, 5), dtype=np.uint8)
    return np.stack([cv2.resize(each, (side, side)) for each in small])


@pytest.mark.parametrize(("quality", "tolerance"), [(None, 0), (95, 12)])
def test_read_set_returns_the_written_set(tmp_path, quality, tolerance):
    """200 tiles, more than one row of the mosaic."""
    written = faces(smooth(200, 48), margin=MARGIN)
    written.targets[3] = 0
    write_set(tmp_path / "sets", "some", written, quality=quality)
    read = read_set(tmp_path / "sets", "some")
    assert read.images.shape == (200, 48, 48)
    assert np.abs(read.images.astype(int) - written.images).max() <= tolerance
    assert np.allclose(read.targets, written.targets, atol=1e-3)
    assert read.margin == MARGIN
    assert (read.sure == written.sure).all()
    assert (read.folds == written.folds).all()
    assert read.labels[3] == -1
    assert read.labels[4] == 4


def test_missing_and_broken_sets_are_rejected(tmp_path):
    with pytest.raises(DataError, match=r"'none' \(make pack\)"):
        read_set(tmp_path, "none")
    write_set(tmp_path, "some", faces(smooth(3, 48)), quality=None)
    (tmp_path / "some.image").write_bytes(b"no image")
    with pytest.raises(DataError, match="the mosaic is not an image"):
        read_set(tmp_path, "some")


@pytest.mark.parametrize("size", [48, 64, 80, 96])
def test_middle_of_a_canvas_equals_the_crop_of_the_classifier(size):
    """Canvases of an image with a margin, and of an image without, whose edge is repeated."""
    side, border = canvas_side(size), (canvas_side(size) - size) // 2
    assert size < side <= MARGIN * size
    large = smooth(1, 480)[0]
    wide = cv2.resize(large, (240, 240), interpolation=cv2.INTER_AREA)
    inner_face = large[120:360, 120:360]
    expected = cv2.resize(inner_face, (size, size), interpolation=cv2.INTER_AREA).astype(int)
    (canvas,) = faces(wide[None], margin=2.0).canvases(size)
    middle = canvas[border : border + size, border : border + size]
    assert canvas.shape == (side, side)
    assert np.abs(middle - expected).mean() < 4
    face = cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA)
    (canvas,) = faces(face[None]).canvases(size)
    middle = canvas[border : border + size, border : border + size]
    assert np.abs(middle.astype(int) - cv2.resize(face, (size, size))).max() == 0
    assert (canvas[:border, border] == middle[0, 0]).all()


def test_near_copies_are_found_and_are_in_the_same_fold():
    images = smooth(13, 64)
    noise = np.random.default_rng(1).integers(-2, 3, images.shape)
    again = np.clip(images + noise, 0, 255).astype(np.uint8)
    other = smooth(13, 64, seed=5)
    assert pack.near_copies(again, images).all()
    assert not pack.near_copies(other, images).any()
    folds = pack.folds(np.concatenate([images, again]))
    assert (folds[:13] == folds[13:]).all()
    assert set(folds.tolist()) == set(range(pack.FOLDS))


def test_square_has_the_width_of_the_served_crop_and_its_margin():
    """A white disc fills the box. The square of the classifier is 1.1 times as wide as the box."""
    gray = np.zeros((300, 300), np.uint8)
    cv2.circle(gray, (150, 150), 50, 255, -1)
    box = pack.Box(100, 100, 200, 200)
    image = pack.square(Raster(gray, (300, 300)), box, box_scale=1.0)
    disc = np.sqrt(4 / np.pi * (image > 127).mean())
    assert disc == pytest.approx(1 / (1.1 * MARGIN), rel=0.02)

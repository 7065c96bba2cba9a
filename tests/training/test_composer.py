"""Composition of scenes, here on the CPU: pixels, boxes and sampling."""

import importlib.util

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import cv2
import torch

from training.data.scene_pack import COLLECTIONS, TILE, ScenePack, sheets
from training.detection.composer import Composer
from training.detection.corruption import corrupt
from training.detection.pixels import Views, render, upload

CPU = torch.device("cpu")
SIDE = 64


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def view(**changes):
    """Return a view of image 0 in a scene without any change, except for `changes`."""
    plain = {
        "image": torch.zeros(1, 1, dtype=torch.int64),
        "source": torch.tensor([[[32.0, 32.0]]]),
        "target": torch.tensor([[[32.0, 32.0]]]),
        "scale": torch.ones(1, 1),
        "angle": torch.zeros(1, 1),
        "flip": torch.ones(1, 1),
        "gamma": torch.ones(1, 1),
        "gain": torch.ones(1, 1, 3),
        "light": torch.zeros(1, 1),
        "gray": torch.zeros(1, 1),
    }
    return Views(**(plain | changes))


def rendered(image, views):
    tile = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    return render(upload([image], CPU, threads=1), views, tile, SIDE)[0].numpy()


def noise(height=64, width=64):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_plain_view_shows_the_image():
    assert np.abs(rendered(noise(), view()) - noise()).max() < 0.05


def test_flipped_view_shows_the_mirror_image():
    assert np.abs(rendered(noise(), view(flip=-torch.ones(1, 1))) - noise()[:, ::-1]).max() < 0.05


def test_view_is_black_where_the_image_ends():
    scene = rendered(noise(), view(target=torch.tensor([[[42.0, 32.0]]])))
    assert (scene[:, :10] == 0).all()
    assert np.abs(scene[:, 10:] - noise()[:, :54]).max() < 0.05


def test_view_at_a_quarter_has_no_aliasing():
    image = np.zeros((256, 256, 3), np.uint8)
    image[::2] = 255  # lines that are one pixel wide
    views = view(source=torch.tensor([[[128.0, 128.0]]]), scale=torch.full((1, 1), 0.25))
    assert np.abs(rendered(image, views)[2:-2, 2:-2] - 127.5).max() < 2


@pytest.mark.parametrize("flip", [1.0, -1.0])
@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_boxes_move_with_the_pixels(flip, degrees):
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:26, 38:44] = 255
    views = view(
        flip=torch.full((1, 1), flip),
        angle=torch.full((1, 1), np.radians(degrees)),
        scale=torch.full((1, 1), 1.5),
        target=torch.tensor([[[30.0, 34.0]]]),
    )
    box = views.boxes(torch.tensor([[[[38.0, 20.0, 44.0, 26.0]]]]))[0, 0, 0]
    rows, columns = np.nonzero(rendered(image, views)[..., 0] > 127)
    middle = (columns.mean() + 0.5, rows.mean() + 0.5)
    assert np.allclose([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], middle, atol=0.6)
    assert box[2] - box[0] == pytest.approx(9)


def test_view_changes_the_colours():
    views = view(
        gain=torch.tensor([[[0.5, 1.0, 1.2]]]),
        light=torch.full((1, 1), 10.0),
        gray=torch.ones(1, 1),
    )
    pixel = rendered(np.full((64, 64, 3), (100, 50, 200), np.uint8), views)[30, 30]
    gray = 0.114 * 100 + 0.587 * 50 + 0.299 * 200
    assert np.allclose(pixel, [gray * 0.5 + 10, gray + 10, gray * 1.2 + 10], atol=0.1)


def made_pack():
    """Return a pack of four photographs and five crops, and the crops. The face of photograph k is
    a white square with the expression k. Photograph 3 has no face."""
    random = np.random.default_rng(1)
    files, box, image = [], [], []
    for number in range(4):
        photograph = random.integers(0, 60, (120, 160, 3), np.uint8)
        if number < 3:
            x, y = 20 + 30 * number, 30
            photograph[y : y + 40, x : x + 40] = 255
            box.append((x, y, x + 40, y + 40))
            image.append(number)
        files.append(cv2.imencode(".png", photograph)[1].tobytes())
    crops = random.integers(0, 256, (5, TILE, TILE), np.uint8)
    files += [cv2.imencode(".png", sheet)[1].tobytes() for sheet in sheets(crops)]
    box += [(0, 0, TILE, TILE)] * 5
    image += [4, 5, 6, 7, 8]
    names = ["natural", "crowds", "expw", "empty", *["ferplus"] * 5]
    pack = ScenePack(
        files=np.frombuffer(b"".join(files), np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        collection=np.array([COLLECTIONS.index(each) for each in names], np.int8),
        image=np.array(image),
        box=np.array(box, np.float32),
        sure=np.ones(8, bool),
        targets=np.eye(8, dtype=np.float32)[[0, 1, 2, 3, 4, 5, 6, 7]],
    )
    return pack, crops


def test_pack_is_read_as_written(tmp_path):
    pack, crops = made_pack()
    pack.save(tmp_path / "scenes.npz")
    images = ScenePack.load(tmp_path / "scenes.npz").images(threads=2)
    assert [each.shape for each in images] == [(120, 160, 3)] * 4 + [(TILE, TILE, 3)] * 5
    assert (np.stack(images[4:])[..., 0] == crops).all()


def composer(seed=0):
    pack, _ = made_pack()
    return Composer(pack, upload(pack.images(), CPU, threads=1), CPU, seed)


def test_boxes_of_sure_faces_contain_the_faces():
    batch = composer()._scenes(64, 128, 0.5)
    images, truth = batch
    checked = 0
    for scene, boxes, sure, targets in zip(
        images.numpy(), truth.boxes.numpy(), truth.sure.numpy(), truth.targets.numpy(), strict=True
    ):
        for box, is_sure, target in zip(boxes, sure, targets, strict=True):
            if is_sure and target.any() and min(box[2:] - box[:2]) > 24:
                x, y = ((box[:2] + box[2:]) / 2).astype(int)
                ground = np.median(scene[scene.max(axis=2) > 0])
                assert scene[y - 2 : y + 3, x - 2 : x + 3].mean() > max(120, 1.5 * ground)
                checked += 1
    assert checked > 20
    assert not (truth.sure & ~truth.valid).any()
    assert (truth.targets.sum(dim=2)[~truth.sure] == 0).all()


def test_sheet_has_several_faces_with_known_expressions():
    batch = composer().batch(2, 6, 192)
    assert batch.images.shape == (8, 3, 192, 192)
    assert batch.sheets == 6
    named = (batch.truth.targets[2:].sum(dim=2) > 0).sum(dim=1)
    assert (named >= 4).all()


def test_rare_expressions_are_sampled_more_often():
    pack, _ = made_pack()
    targets = pack.targets.copy()
    targets[3:7], targets[7] = np.eye(8)[4], np.eye(8)[6]  # four crops of class 4, one of class 6
    pack = ScenePack(**(vars(pack) | {"targets": targets}))
    composer_of_rare = Composer(pack, upload(pack.images(), CPU, threads=1), CPU, 0)
    drawn = composer_of_rare._sample(composer_of_rare._tables.sheet_weights, 4000)
    share = (drawn == 7).sum() / (drawn >= 3).sum()
    assert 0.28 < share < 0.4  # 1 / (1 + 4 · 4^-.5)


def test_composers_with_equal_seeds_compose_equal_scenes():
    first, second, other = (composer(seed).batch(4, 1, 64).images for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_corruption_keeps_images_recognisable():
    image = torch.from_numpy(noise()).permute(2, 0, 1)[None].float()
    image = torch.nn.functional.interpolate(image, size=(128, 128), mode="bilinear")
    images = image.repeat(32, 1, 1, 1)
    changed = corrupt(images.clone(), torch.Generator().manual_seed(0))
    difference = (changed - images).abs().mean(dim=(1, 2, 3))
    assert changed.min() >= 0 and changed.max() <= 255
    assert (difference < 30).all()
    assert (difference < 0.01).any() and (difference > 3).any()

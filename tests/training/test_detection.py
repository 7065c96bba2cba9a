"""Assignment, losses and data of the one-pass network, with results worked out by hand."""

import importlib.util
import json
import math
import os
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from app.settings import ROOT
from tests.conftest import LABELS

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CI"):
        raise RuntimeError("torch is not installed")
    pytest.skip("torch is not installed: training needs it", allow_module_level=True)

import torch

from app.vision import cells
from app.vision.single_shot import SingleShotNet
from training.calibration import fit_logistic
from training.config import TrainingError, read_config
from training.data.marked_images import MarkedImage
from training.detection.assignment import NOBODY, around, assign
from training.detection.boxes import Cells, decode, pairwise_iou
from training.detection.data import collate, load_scenes
from training.detection.losses import Marks, eiou_loss, losses
from training.detection.validation import detections, matches_by_image, named, predictor
from training.export import write_models
from training.nets import NETS
from training.nets.single_shot import SingleShot
from training.train import Run

SIDE = 64
CELLS = Cells.of(SIDE)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_decode_equals_the_decoder_of_the_service():
    answers = np.random.default_rng(0).normal(size=(84, 4)).astype(np.float32)
    served = cells.decode(answers, *cells.grid(SIDE))
    assert np.allclose(decode(torch.from_numpy(answers), CELLS).numpy(), served, atol=1e-4)


def test_pairwise_iou_of_known_boxes():
    first = boxes([0, 0, 10, 10], [0, 0, 0, 0])
    second = boxes([0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 7, 7])
    expected = [[1, 50 / 150, 0, 25 / 100], [0, 0, 0, 0]]
    assert torch.allclose(pairwise_iou(first, second), torch.tensor(expected))


def exact(face):
    """Return outputs that decode to this face in all cells."""
    x1, y1, x2, y2 = face
    middle = torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2])
    sides = torch.tensor([x2 - x1, y2 - y1])
    t_xy = (middle - CELLS.centres) / CELLS.strides
    return torch.cat([t_xy, (sides / CELLS.strides).log()], dim=1)


def assigned(answers, faces, real=None, objectness=None):
    """Return the number of the assigned face of each cell of an image."""
    real = torch.ones(len(faces), dtype=torch.bool) if real is None else torch.tensor(real)
    objectness = torch.zeros(len(answers)) if objectness is None else objectness
    iou = pairwise_iou(faces, decode(answers, CELLS))
    return assign(iou[None], objectness[None], faces[None], real[None], CELLS)[0]


def test_number_of_cells_of_a_face_is_the_sum_of_its_ten_best_ious():
    face = (16.0, 16.0, 48.0, 48.0)
    everywhere = exact(face)
    # All candidates are exact: ten IoUs of 1.
    assert int((assigned(everywhere, boxes(face)) == 0).sum()) == 10
    # Boxes of half the side in the same place have an IoU of 1/4: 2.5 rounded down.
    half = everywhere.clone()
    half[:, 2:] -= math.log(2)
    assert int((assigned(half, boxes(face)) == 0).sum()) == 2
    # Without any overlap, one cell is still assigned.
    far = everywhere.clone()
    far[:, :2] += 100
    assert int((assigned(far, boxes(face)) == 0).sum()) == 1


def test_cells_lie_in_the_face_and_near_its_centre():
    face = (20.0, 20.0, 28.0, 28.0)
    chosen = (assigned(exact(face), boxes(face)) == 0).nonzero()[:, 0]
    # Cell centres on the edge, at 20 and 28, are not inside.
    inside = [
        index for index, (x, y) in enumerate(CELLS.centres.tolist()) if 20 < x < 28 and 20 < y < 28
    ]
    assert inside == [69]
    assert 69 in chosen.tolist()
    # Other assigned cells are less than 2.5 strides away.
    away = (CELLS.centres[chosen] - 24).abs().amax(dim=1)
    assert (away < 2.5 * CELLS.strides[chosen, 0]).all()


def test_cells_with_the_lowest_cost_are_assigned():
    face = (0.0, 0.0, 64.0, 64.0)
    answers = exact(face)
    answers[:, 2:] -= 3  # an IoU of about 0, for all
    answers[70] = exact(face)[70]
    sure = torch.zeros(len(answers))
    chosen = assigned(answers, boxes(face), objectness=sure)
    assert (chosen == 0).nonzero().tolist() == [[70]]  # its box matches best
    same = exact(face)
    same[:, 2:] -= 3
    sure[75] = 4
    chosen = assigned(same, boxes(face), objectness=sure)
    assert (chosen == 0).nonzero().tolist() == [[75]]  # its score is the highest


def test_contested_cell_is_assigned_to_the_best_matching_face():
    large, small = (0.0, 0.0, 64.0, 64.0), (16.0, 16.0, 48.0, 48.0)
    chosen = assigned(exact(small), boxes(large, small))
    assert int((chosen == 1).sum()) == 10
    # The large face has an IoU of 1/4 everywhere, so at most two other cells are assigned to it.
    assert int((chosen == 0).sum()) <= 2


def test_padding_is_not_assigned():
    face = (16.0, 16.0, 48.0, 48.0)
    chosen = assigned(exact(face), boxes(face, face), real=[False, False])
    assert (chosen == NOBODY).all()
    chosen = assigned(exact(face), boxes((0, 0, 0, 0), face), real=[False, True])
    assert set(chosen.tolist()) == {NOBODY, 1}


def test_around_returns_the_candidate_cells_of_a_face():
    near = around(boxes((60, 60, 64, 64))[None], torch.ones(1, 1, dtype=torch.bool), CELLS)[0]
    assert near[63]  # the last of 8 pixels
    assert near[83]  # the last of 32
    assert not near[0]
    assert not near[:32].any()  # the upper half, in the finest grid
    assert not around(boxes((0, 0, 64, 64))[None], torch.zeros(1, 1).bool(), CELLS).any()


def test_eiou_loss_of_known_boxes():
    truth = boxes([0, 0, 10, 10])
    assert eiou_loss(truth, truth).item() == pytest.approx(0)
    # The same centre and half the width: IoU 1/2, Δw² / c_w² = 25 / 100.
    assert eiou_loss(boxes([2.5, 0, 7.5, 10]), truth).item() == pytest.approx(0.5 + 0.25)
    # Moved by 10: no overlap, d²/c² = 100 / (20² + 10²).
    assert eiou_loss(boxes([10, 0, 20, 10]), truth).item() == pytest.approx(1 + 0.2)


def test_eiou_loss_has_a_gradient_without_overlap():
    box = boxes([40, 40, 50, 50]).requires_grad_()
    eiou_loss(box, boxes([0, 0, 10, 10])).sum().backward()
    assert box.grad.sum() > 0  # nearer to the face is better


def marks(faces, sure=None, targets=None):
    count = len(faces)
    return Marks(
        faces=faces[None],
        real=torch.ones(1, count, dtype=torch.bool),
        sure=torch.tensor([[True] * count if sure is None else sure]),
        targets=torch.zeros(1, count, 8) if targets is None else targets[None],
    )


def answering(face, logit=-20.0, names=None):
    """Return outputs of shape (1, cells, 13) that decode to `face` in all cells."""
    made = torch.zeros(1, 84, 13)
    made[0, :, :4], made[0, :, 4] = exact(face), logit
    if names is not None:
        made[0, :, 5:] = names
    return made


FACE = (16.0, 16.0, 48.0, 48.0)


def test_loss_of_a_correct_net_is_nearly_zero():
    answers = answering(FACE)
    truth = marks(boxes(FACE), targets=torch.eye(8)[:1])
    learns = assigned(exact(FACE), boxes(FACE), objectness=torch.full((84,), -20.0)) == 0
    answers[0, learns, 4] = 20
    answers[0, :, 5] = 20
    found = losses(answers, truth, SIDE)
    assert found.total(1.0).item() == pytest.approx(0, abs=1e-4)


def test_objectness_loss_is_divided_by_the_number_of_assigned_cells():
    half = answering(FACE, logit=0.0)
    # With an IoU of 1/4, two cells are assigned, and the others match no face.
    half[..., 2:4] -= math.log(2)
    found = losses(half, marks(boxes(FACE)), SIDE)
    assert found.objectness.item() == pytest.approx(84 * math.log(2) / 2)


def test_matching_cells_that_are_not_assigned_have_no_objectness_loss():
    found = losses(answering(FACE, logit=0.0), marks(boxes(FACE)), SIDE)
    assert found.objectness.item() == pytest.approx(10 * math.log(2) / 10)
    # A face that is padding does not exclude matching cells from the loss.
    far = boxes((0, 0, 16, 16), FACE)
    truth = marks(far)
    found = losses(
        answering(FACE, logit=0.0), replace(truth, real=truth.real & boxes([1, 0]).bool()), SIDE
    )
    assert found.objectness.item() == pytest.approx(84 * math.log(2))


def test_cells_around_an_unsure_face_have_no_objectness_loss():
    doubtful = marks(boxes(FACE), sure=[False])
    near = around(doubtful.faces, doubtful.real, CELLS)[0]
    answers = answering(FACE, logit=0.0)
    found = losses(answers, doubtful, SIDE)
    assert found.objectness.item() == pytest.approx(int((~near).sum()) * math.log(2), rel=1e-5)
    assert found.box.item() == 0


def test_expression_loss_is_the_cross_entropy_with_soft_targets():
    target = torch.tensor([[0.75, 0.25, 0, 0, 0, 0, 0, 0]])
    names = torch.tensor([2.0, 0, 0, 0, 0, 0, 0, 0])
    found = losses(answering(FACE, names=names), marks(boxes(FACE), targets=target), SIDE)
    whole = math.log(math.exp(2) + 7)
    assert found.expression.item() == pytest.approx(0.75 * (whole - 2) + 0.25 * whole)


def test_unknown_expression_has_no_loss():
    two = boxes(FACE, (0.0, 0.0, 10.0, 10.0))
    targets = torch.stack([torch.eye(8)[1], torch.zeros(8)])
    names = torch.arange(8.0)
    one = losses(answering(FACE, names=names), marks(two[:1], targets=targets[:1]), SIDE)
    both = losses(answering(FACE, names=names), marks(two, targets=targets), SIDE)
    assert both.expression.item() == pytest.approx(one.expression.item(), rel=1e-5)


def test_scene_without_faces_has_gradients():
    answers = torch.zeros(2, 84, 13).requires_grad_()
    nobody = Marks(
        torch.zeros(2, 1, 4),
        torch.zeros(2, 1, dtype=torch.bool),
        torch.zeros(2, 1, dtype=torch.bool),
        torch.zeros(2, 1, 8),
    )
    losses(answers, nobody, SIDE).total(1.0).backward()
    assert torch.isfinite(answers.grad).all()
    assert (answers.grad[..., 4] > 0).all()
    assert (answers.grad[..., :4] == 0).all()


def test_net_returns_a_row_for_each_cell_at_any_size():
    net = NETS["single_shot"](classes=8).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 84, 13)
        assert net(torch.zeros(1, 3, 96, 96)).shape == (1, 144 + 36 + 9, 13)
    assert 100_000 < sum(p.numel() for p in net.parameters()) < 800_000


def test_rows_of_the_net_depend_on_the_pixels_near_their_cells():
    """A change in one corner of the image changes the rows of that corner."""
    torch.manual_seed(0)
    net = SingleShot(classes=8).eval()
    plain = torch.full((1, 3, 320, 320), 100.0)
    changed = plain.clone()
    changed[:, :, 280:312, 8:40] = 200
    with torch.no_grad():
        moved = (net(plain) - net(changed))[0].abs()
    centres, strides = cells.grid(320)
    for stride in cells.STRIDES:
        own = strides[:, 0] == stride
        part = moved[own][:, :5].sum(dim=1)
        x, y = (centres[own] * (part / part.sum()).numpy()[:, None]).sum(axis=0)
        assert x < 160 < y, stride  # the coarsest cells see nearly the whole image


def test_collate_pads_to_the_largest_number_of_faces():
    image = np.zeros((32, 32, 3), np.uint8)
    image[0, 1] = 1, 2, 3
    one = MarkedImage(
        image,
        np.array([[1, 2, 3, 4]], np.float32),
        np.array([False]),
        np.eye(8, dtype=np.float32)[:1],
    )
    none = MarkedImage(
        image, np.zeros((0, 4), np.float32), np.zeros(0, bool), np.zeros((0, 8), "f4")
    )
    images, made = collate([none, one])
    assert images.shape == (2, 3, 32, 32)
    assert images[0, :, 0, 1].tolist() == [1, 2, 3]
    assert made.real.tolist() == [[False], [True]]
    assert made.sure.tolist() == [[False], [False]]
    assert made.faces[1, 0].tolist() == [1, 2, 3, 4]
    assert made.targets[1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_fit_logistic_calibrates_scores():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 20_000)
    hits = generator.random(20_000) < 1 / (1 + np.exp(-(1.5 * logits - 0.7)))
    assert fit_logistic(logits, hits) == pytest.approx((1.5, -0.7), abs=0.06)


def test_fit_logistic_is_finite_if_all_detections_are_correct():
    scale, bias = fit_logistic(np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool))
    assert scale > 0
    assert np.isfinite([scale, bias]).all()


def test_detections_are_matched_with_faces_and_expressions():
    image = MarkedImage(
        np.zeros((64, 64, 3), np.uint8),
        np.array([[16, 16, 48, 48], [0, 0, 10, 10]], np.float32),
        np.array([True, True]),
        np.eye(8, dtype=np.float32)[[3, 4]],
    )
    answers = answering(FACE, names=torch.eye(8)[3]).numpy()[0]
    answers[70, 4] = 2
    found = detections(lambda squares: answers[None], [image], SIDE, cells.find)
    ((detection, _),) = found[0]
    assert detection.box.xyxy == pytest.approx(FACE, abs=1e-3)
    assert detection.score == pytest.approx(1 / (1 + math.exp(-2)))
    (counted,) = matches_by_image(found, [image])
    assert counted.hits.tolist() == [True]
    assert counted.found.tolist() == [True]  # the other face is too small to count
    (first, label), missed = named(found, [image])
    assert (first.argmax(), label) == (3, 3)
    assert missed == (None, 4)


CONFIG = """
name = "tiny"
task = "scenes"
net = "single_shot"
classes = 8
input_size = 64
minutes = 5
epochs = {epochs}
scenes = 64
batch_size = 8
learning_rate = 5e-3
betas = [0.9, 0.99]
weight_decay = 0.01
warmup_epochs = 0.5
ema_decay = 0.9
seed = 3
[net_options]
widths = [8, 8, 16, 16, 16]
depths = [1, 1, 1, 1, 1]
extra = [0, 0, 0, 0, 0]
neck = 16
neck_extra = 0
names = [8, 8, 16, 16]
[export]
"models/tiny" = "fp32"
[card]
version = "0.0.1"
sizes = [64, 96]
machine = "a test"
licence = "none"
intended_use = "tests"
out_of_scope = "all else"
limits = "made faces"
"""


def face(generator, side, label):
    """Draw a face: a bright disc with a dark mouth, high or low."""
    image = generator.integers(0, 40, (side, side)).astype(np.uint8)
    cv2.circle(image, (side // 2, side // 2), side // 2 - 1, 220, -1)
    y = side // 3 if label == "happiness" else 2 * side // 3
    cv2.rectangle(image, (side // 4, y - 1), (3 * side // 4, y + side // 10), 20, -1)
    return image


def write_photos(folder):
    """Write photographs and portraits with generated faces for both splits."""
    generator = np.random.default_rng(0)
    images, faces = [], []
    for split in ("train", "val"):
        for index in range(6):
            for collection in ("natural", "crowds", "lfw-expressions"):
                name = f"{collection}/{split}{index}.png"
                label = ("happiness", "sadness")[index % 2]
                image = generator.integers(0, 60, (80, 100, 3)).astype(np.uint8)
                box = ""
                if index or collection != "natural":
                    x, y, side = map(int, generator.integers((0, 0, 24), (60, 40, 40)))
                    image[y : y + side, x : x + side] = face(generator, side, label)[..., None]
                    said = label if collection == "lfw-expressions" else ""
                    box = f"{name},{x},{y},{x + side},{y + side},sure,human,{said},"
                (folder / collection).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / name), image)
                images.append(f"{name},100,80,{int(bool(box))},{split}")
                faces += [box] if box else []
    head = "image,x1,y1,x2,y2,label,source,expression,condition"
    (folder / "faces.csv").write_text("\n".join([head, *faces]))
    (folder / "images.csv").write_text("\n".join(["image,width,height,sure_faces,split", *images]))


def write_faces(folder, seed):
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for index in range(24):
        label = ("happiness", "sadness")[index % 2]
        cv2.imwrite(str(folder / f"{index}.png"), face(generator, 48, label))
        votes = "0,10,0,0,0,0,0,0,0,0" if label == "happiness" else "0,0,0,10,0,0,0,0,0,0"
        lines.append(f'{index}.png,"(0, 0, 48, 48)",{votes}')
    (folder / "label.csv").write_text("\n".join(lines))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    write_photos(tmp_path / "data" / "photos")
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Train", 1)
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Valid", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.detection.validation.VALIDATION_SCENES", 20)
    torch.set_num_threads(1)
    return tmp_path


def make_run(workplace, *, epochs=2, **changes):
    (workplace / "tiny.toml").write_text(CONFIG.format(epochs=epochs))
    config = replace(read_config(workplace / "tiny.toml"), **changes)
    data = load_scenes(workplace / "data", config, True)
    return Run(config, data, workplace / "runs" / config.name)


def test_fit_learns_to_detect_generated_faces(workplace):
    run = make_run(workplace, epochs=16)
    run.fit()
    assert run.history[-1]["loss"] < run.history[0]["loss"] / 2
    assert run.history[-1]["validation_ap"] > 0.5
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"checkpoint.pt", "curve.png", "log.csv"}


def test_scene_size_follows_the_schedule(workplace):
    run = make_run(workplace, sizes=[[0.5, 32]], epochs=2)
    sides = []
    for epoch in range(2):
        run.epoch = epoch
        sides.append([batch.shape[-1] for batch, _ in run.data.batches(run)])
    assert sides == [[32] * 8, [64] * 8]


def test_resumed_run_equals_an_uninterrupted_run(workplace):
    whole = make_run(workplace)
    whole.fit()
    shutil.rmtree(whole.folder)
    make_run(workplace).fit_epoch()
    resumed = make_run(workplace)
    assert resumed.resume()
    resumed.fit()
    for row, expected in zip(resumed.history, whole.history, strict=True):
        assert row | {"minutes": 0} == expected | {"minutes": 0}
    state = whole.average.state_dict()
    for name, tensor in resumed.average.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_exported_network_matches_pytorch(workplace):
    run = make_run(workplace, epochs=8)
    run.fit()
    (folder,) = write_models(workplace / "tiny.toml", workplace / "data")
    card = json.loads((folder / "card.json").read_text())
    assert card["labels"] == list(LABELS)
    assert card["input"]["sizes"] == [64, 96]
    assert card["training"]["settings"]["scenes"] == 64
    served, expected = SingleShotNet.load(folder), predictor(run.average.module)
    for side in (64, 96):
        squares = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
        assert np.allclose(served.predict(squares), expected(squares), atol=2e-3)


def test_net_without_detections_is_not_exported(workplace):
    make_run(workplace).fit_epoch()
    with pytest.raises(TrainingError, match="train longer"):
        write_models(workplace / "tiny.toml", workplace / "data")
    assert not (workplace / "models" / "tiny").exists()


def test_net_that_differs_from_pytorch_is_not_exported(workplace, monkeypatch):
    make_run(workplace).fit_epoch()
    monkeypatch.setattr("training.detection.export.predictor", lambda net: lambda squares: 1.0)
    with pytest.raises(TrainingError, match="differs from PyTorch"):
        write_models(workplace / "tiny.toml", workplace / "data")
    assert not (workplace / "models" / "tiny").exists()


def test_committed_network_matches_its_config():
    config = read_config(ROOT / "training" / "configs" / "single_shot.toml")
    card = json.loads((ROOT / "models" / "single_shot" / "card.json").read_text())
    net = NETS[config.net](classes=config.classes, **config.net_options)
    assert card["weights"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert card["weights"]["bytes"] < 4_000_000

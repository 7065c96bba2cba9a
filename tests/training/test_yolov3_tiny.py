"""YOLOv3-tiny: layers as published, and boxes, assignment and losses worked out by hand.

At 64 pixels the net returns 60 rows: 2×2 cells of stride 32, then 4×4 of stride 16, with three
anchors each.
"""

import importlib.util
import math
import os

import numpy as np
import pytest

pytestmark = pytest.mark.torch

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("CI must have torch: make train-env")
    pytest.skip("torch is not installed (make train-env)", allow_module_level=True)

import torch

from app.settings import ROOT
from app.vision.cells import MAX_CANDIDATES, MAX_LOG_SIZE
from training.config import read_config
from training.detection.assignment import NOBODY
from training.detection.losses import Marks
from training.detection.yolo import ANCHORS, anchors_of, assign, decode, find, losses
from training.nets.yolov3_tiny import YoloV3Tiny

SIDE, ROWS, COARSE_ROWS = 64, 60, 12
# ROW is the anchor of 30×36 in the cell of stride 16 at line 2 and column 3. LEFT_ROW is the same
# anchor in the cell to the left. With outputs of 0, the box of ROW has the centre (3.5, 2.5) × 16.
ROW = COARSE_ROWS + (2 * 4 + 3) * 3 + 1
LEFT_ROW = ROW - 3
CENTRE, BOX = (56.0, 40.0), (41.0, 22.0, 71.0, 58.0)
LN2, LN3 = math.log(2), math.log(3)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def face_at(x, y, width, height):
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def marks_of(*faces, sure=True, targets=None):
    """Return the marks of one image, with one padding row that has the box BOX."""
    boxes = torch.tensor([[*faces, BOX]])
    real = torch.tensor([[True] * len(faces) + [False]])
    if targets is None:
        targets = torch.zeros(1, len(faces) + 1, 2)
    return Marks(boxes, real, real & torch.tensor(sure), targets)


def shifted():
    """Return the outputs of one image: 0, with the box of LEFT_ROW half a cell to the right.

    It overlaps BOX by 22·36 / (2·30·36 - 22·36) = .58. Other boxes overlap BOX by at most .39.
    """
    answers = torch.zeros(1, ROWS, 5 + 2)
    answers[0, LEFT_ROW, 0] = 100
    return answers


def test_layers_are_those_of_the_paper():
    net = YoloV3Tiny(classes=7).eval()
    shapes = {torch.nn.Conv2d: [], torch.nn.MaxPool2d: []}
    for module in net.modules():
        if type(module) in shapes:
            module.register_forward_hook(
                lambda module, _, output: shapes[type(module)].append(tuple(output.shape[1:]))
            )
    with torch.no_grad():
        answers = net(torch.zeros(1, 3, 416, 416))
    assert answers.shape == (1, 3 * (13 * 13 + 26 * 26), 5 + 7) == (1, 2535, 12)
    convolutions = [
        *[(16, 416), (32, 208), (64, 104), (128, 52), (256, 26), (512, 13), (1024, 13)],
        *[(256, 13), (512, 13), (36, 13)],
        *[(128, 13), (256, 26), (36, 26)],
    ]
    assert shapes[torch.nn.Conv2d] == [(width, side, side) for width, side in convolutions]
    pools = [(16, 208), (32, 104), (64, 52), (128, 26), (256, 13), (512, 13)]
    assert shapes[torch.nn.MaxPool2d] == [(width, side, side) for width, side in pools]


def test_number_of_weights_equals_darknet():
    """yolov3-tiny.weights, for the 80 classes of COCO, has 35,434,956 bytes.

    It consists of a header of 20 bytes, and parameters, means and variances as 32-bit floats.
    """
    net = YoloV3Tiny(classes=80)
    floats = [each for each in net.state_dict().values() if each.is_floating_point()]
    assert 20 + 4 * sum(each.numel() for each in floats) == 35_434_956


def test_all_layers_except_the_heads_have_batch_norm_and_leaky_relu():
    net = YoloV3Tiny(classes=7)
    slopes = [m.negative_slope for m in net.modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert slopes == [0.1] * 11
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) == 11
    biases = [m.bias for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(bias is not None for bias in biases) == 2


def test_first_layer_gets_values_up_to_1():
    net = YoloV3Tiny(classes=7)
    seen = []
    net.fine.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.full((2, 3, 32, 64), 255.0))
    assert torch.equal(seen[0], torch.ones(2, 3, 32, 64))


def test_pool_of_stride_1_looks_right_and_down():
    pad_and_pool = YoloV3Tiny(classes=1).coarse[2:4]
    pooled = pad_and_pool(torch.arange(1.0, 10.0).view(1, 1, 3, 3))
    assert pooled.tolist() == [[[[5, 6, 6], [8, 9, 9], [8, 9, 9]]]]


def test_initial_objectness_is_low():
    net = YoloV3Tiny(classes=8)
    biases = torch.stack([head[-1].bias.view(3, 13) for head in (net.head_32, net.head_16)])
    assert torch.allclose(biases[..., 4].sigmoid(), torch.tensor(0.01))
    assert biases[..., [0, 1, 2, 3, 5]].abs().max() < 0.1


class Coded(torch.nn.Module):
    """A head whose output encodes its position.

    Thousands are the channel, tens the line, ones the column. At stride 16, 0.5 is added.
    """

    def forward(self, x):
        lines, columns = x.shape[2:]
        channel = torch.arange(39.0).view(39, 1, 1) * 1000
        where = channel + torch.arange(lines).view(-1, 1) * 10 + torch.arange(columns)
        return (where + (0.5 if lines == 4 else 0)).expand(len(x), -1, -1, -1)


def test_rows_are_in_the_order_of_the_anchors():
    net = YoloV3Tiny(classes=8)
    net.head_32, net.head_16 = Coded(), Coded()
    answers = net(torch.zeros(2, 3, SIDE, SIDE))[1]
    priors = anchors_of(SIDE)
    assert answers.shape == (ROWS, 13)
    for row, (stride, line, column, anchor) in {
        0: (32, 0, 0, 0),
        5: (32, 0, 1, 2),
        6: (32, 1, 0, 0),
        COARSE_ROWS: (16, 0, 0, 0),
        ROW: (16, 2, 3, 1),
        ROWS - 1: (16, 3, 3, 2),
    }.items():
        code = line * 10 + column + (0.5 if stride == 16 else 0)
        assert answers[row].tolist() == [1000 * (13 * anchor + k) + code for k in range(13)]
        assert priors.corners[row].tolist() == [column, line]
        assert priors.strides[row].tolist() == [stride]
        assert priors.sizes[row].tolist() == list(ANCHORS[stride == 16][anchor])


def test_anchors_are_in_pixels_and_match_faces():
    """The faces are 12 to 300 pixels high and .84 times as wide.

    Anchors in units of cells would overlap a face of 100 pixels by less than .01.
    """
    heights = np.geomspace(12, 300, 100)
    sizes = np.stack([0.84 * heights, heights], axis=1)[:, None]
    anchors = np.concatenate(ANCHORS)
    overlap = np.minimum(sizes, anchors).prod(axis=2)
    iou = overlap / (sizes.prod(axis=2) + anchors.prod(axis=1) - overlap)
    assert iou.max(axis=1).min() > 0.4
    assert iou.max(axis=1).mean() > 0.7
    assert (anchors[:, 0] < anchors[:, 1]).all()
    areas = anchors.prod(axis=1)
    assert areas[:3].min() > areas[3:].max()  # coarse cells have larger anchors


def test_decode_computes_boxes_from_cell_and_anchor():
    answers = torch.zeros(ROWS, 13)
    answers[:, 4:] = 7  # objectness and classes do not affect the box
    boxes = decode(answers, SIDE)
    assert boxes[ROW].tolist() == list(BOX)
    assert boxes[5].tolist() == [48 - 106, 16 - 124.5, 48 + 106, 16 + 124.5]
    answers[ROW, :4] = torch.tensor([LN3, -LN3, LN2, -LN2])  # sigmoids .75 and .25
    assert decode(answers, SIDE)[ROW].tolist() == pytest.approx(face_at(60, 36, 60, 18))
    answers[ROW, :4] = torch.tensor([-100.0, 100.0, 1000.0, -1000.0])
    width = 30 * math.exp(MAX_LOG_SIZE)
    expected = face_at(48, 48, width, 0)
    assert decode(answers, SIDE)[ROW].tolist() == pytest.approx(expected, rel=1e-5)


def learned(*faces, real=None):
    """Return the assigned rows at 416 pixels, with the numbers of their faces."""
    real = torch.tensor([[True] * len(faces) if real is None else real])
    face = assign(torch.tensor([faces]), real, 416)[0]
    return {int(row): int(face[row]) for row in (face != NOBODY).nonzero()}


def fine(line, column, anchor):
    return 13 * 13 * 3 + (line * 26 + column) * 3 + anchor


def test_face_is_assigned_to_the_best_anchor_of_its_cell():
    assert learned(face_at(100, 200, 91, 109)) == {(6 * 13 + 3) * 3: 0}
    assert learned(face_at(300, 50, 30, 36)) == {fine(3, 18, 1): 0}
    assert learned(face_at(300, 50, 300, 300)) == {(1 * 13 + 9) * 3 + 2: 0}
    # 24×28: 15×18 overlaps it by 270/672 = .40, 30×36 by 672/1080 = .62
    assert learned(face_at(300, 50, 24, 28)) == {fine(3, 18, 1): 0}
    # 20×24: 15×18 by 270/480 = .56, 30×36 by 480/1080 = .44
    assert learned(face_at(300, 50, 20, 24)) == {fine(3, 18, 0): 0}


def test_best_matching_face_of_a_cell_is_assigned_to_its_anchor():
    large, small = face_at(300, 50, 30, 36), face_at(300, 50, 15, 18)
    assert learned(large, small) == {fine(3, 18, 1): 0, fine(3, 18, 0): 1}
    worse = face_at(301, 51, 28, 34)
    assert learned(large, worse) == {fine(3, 18, 1): 0}
    assert learned(worse, large) == {fine(3, 18, 1): 1}


def test_padding_is_not_assigned():
    faces = face_at(300, 50, 30, 36), face_at(100, 50, 30, 36)
    assert learned(*faces, real=[False, True]) == {fine(3, 6, 1): 1}
    assert learned(*faces, real=[False, False]) == {}


def test_centre_on_the_edge_belongs_to_the_last_cell():
    assert learned(face_at(416, 416, 30, 36)) == {fine(25, 25, 1): 0}
    assert learned(face_at(0, 416, 30, 36)) == {fine(25, 0, 1): 0}


def test_images_of_a_batch_are_assigned_separately():
    faces = torch.tensor([[face_at(*CENTRE, 30, 36)], [face_at(8, 8, 30, 36)]])
    face = assign(faces, torch.tensor([[True], [True]]), SIDE)
    assert [tuple(each) for each in (face != NOBODY).nonzero().tolist()] == [
        (0, ROW),
        (1, COARSE_ROWS + 1),
    ]


def test_correct_box_has_no_loss_and_overlapping_rows_are_ignored():
    made = losses(shifted(), marks_of(BOX), SIDE)
    assert made.box.item() == pytest.approx(0, abs=1e-6)
    assert made.objectness.item() == pytest.approx(59 * LN2)  # all but LEFT_ROW
    assert made.expression.item() == 0
    plain = losses(torch.zeros(1, ROWS, 7), marks_of(BOX), SIDE)
    assert plain.objectness.item() == pytest.approx(60 * LN2)


def test_objectness_gradient_raises_faces_and_lowers_other_rows():
    answers = shifted()
    answers[0, :, 4] = -3
    answers[0, ROW, 4] = 2
    answers.requires_grad_()
    made = losses(answers, marks_of(BOX), SIDE)
    expected = 58 * math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-2))
    assert made.objectness.item() == pytest.approx(expected)
    made.objectness.backward()
    gradient = answers.grad[0, :, 4]
    assert gradient[ROW] < 0
    assert gradient[LEFT_ROW] == 0
    assert (gradient > 0).sum() == 58


def test_assigned_row_is_not_ignored_because_of_another_face():
    """The second face also overlaps the box of ROW by 22·36 / (2·30·36 - 22·36)."""
    made = losses(torch.zeros(1, ROWS, 7), marks_of(BOX, face_at(47.9, 40, 30, 36)), SIDE)
    assert made.objectness.item() == pytest.approx(60 * LN2 / 2)


def test_box_loss_is_the_mean_eiou_of_assigned_rows():
    """The box of ROW lies 4 pixels right of its face. The row of the other face is correct.

    Box and face share 26×36 pixels, and the box around both has 34×36.
    """
    answers = torch.zeros(1, ROWS, 7)
    answers[0, ROW, 0] = LN3
    eiou = 1 - 936 / (2 * 1080 - 936) + 16 / (34**2 + 36**2)
    made = losses(answers, marks_of(BOX, face_at(8, 8, 15, 18)), SIDE)
    assert made.box.item() == pytest.approx(eiou / 2, rel=1e-4)
    assert losses(answers, marks_of(BOX), SIDE).box.item() == pytest.approx(eiou, rel=1e-4)


def test_expression_loss_is_the_cross_entropy_of_known_expressions():
    answers = torch.zeros(1, ROWS, 7)
    answers[0, :, 5] = 50  # rows without a face have no expression loss
    answers[0, ROW, 5:] = torch.tensor([LN3, 0])  # .75 and .25
    targets = torch.tensor([[[0.4, 0.6], [0.0, 0.0], [1.0, 0.0]]])  # the last row is padding
    made = losses(answers, marks_of(BOX, face_at(8, 8, 15, 18), targets=targets), SIDE)
    assert made.expression.item() == pytest.approx(-0.4 * math.log(0.75) - 0.6 * math.log(0.25))


def test_unsure_face_has_no_loss():
    """Neither its own row nor a row with an overlapping box has a loss."""
    answers = shifted()
    answers[0, [ROW, LEFT_ROW], 4] = 8
    answers.requires_grad_()
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    made = losses(answers, marks_of(BOX, sure=False, targets=targets), SIDE)
    assert made.objectness.item() == pytest.approx(58 * LN2)
    assert made.box.item() == made.expression.item() == 0
    made.total(1.0).backward()
    assert not answers.grad[0, [ROW, LEFT_ROW]].any()


def test_unsure_face_without_overlapping_box_has_no_loss_in_its_row():
    answers = torch.zeros(1, ROWS, 7)
    answers[0, COARSE_ROWS, 4] = 8
    made = losses(answers, marks_of(face_at(8, 8, 8, 8), sure=False), SIDE)
    assert made.objectness.item() == pytest.approx(59 * LN2)


def test_assigned_row_is_not_ignored_because_of_an_unsure_face():
    made = losses(torch.zeros(1, ROWS, 7), marks_of(BOX, BOX, sure=[True, False, False]), SIDE)
    assert made.objectness.item() == pytest.approx(60 * LN2)


def test_gradients_are_finite_without_faces():
    net = YoloV3Tiny(classes=2)
    answers = net(torch.rand(2, 3, SIDE, SIDE) * 255)
    nobody = torch.zeros(2, 1, dtype=torch.bool)
    made = losses(answers, Marks(torch.zeros(2, 1, 4), nobody, nobody, torch.zeros(2, 1, 2)), SIDE)
    assert made.box.item() == made.expression.item() == 0
    assert made.objectness.item() == pytest.approx(
        torch.nn.functional.softplus(answers[..., 4]).sum().item(), rel=1e-5
    )
    made.total(1.0).backward()
    assert all(torch.isfinite(each.grad).all() for each in net.parameters())
    assert any(each.grad.any() for each in net.parameters())


def answers_with(**logits):
    """Return outputs with `right` (BOX), `left` (8 pixels beside it) and `corner` (15×18)."""
    answers = np.zeros((ROWS, 5 + 2), np.float32)
    answers[:, 4] = -9
    answers[LEFT_ROW, 0] = 100
    for row, name in ((ROW, "right"), (LEFT_ROW, "left"), (COARSE_ROWS, "corner")):
        answers[row, 4] = logits.get(name, -9)
        answers[row, 5:] = row, -row
    return answers


def test_find_returns_boxes_logits_and_classes_in_descending_order():
    answers = answers_with(right=2.0, left=1.0, corner=3.0)
    boxes, logits, names = find(answers, SIDE, min_logit=-3.0, nms_iou=0.45)
    assert np.allclose(boxes, [face_at(8, 8, 15, 18), BOX])
    assert logits.tolist() == [3, 2]
    assert names.tolist() == [[COARSE_ROWS, -COARSE_ROWS], [ROW, -ROW]]
    boxes, logits, names = find(answers, SIDE, min_logit=-3.0, nms_iou=0.6)
    assert logits.tolist() == [3, 2, 1]
    assert np.allclose(boxes[2], face_at(48, 40, 30, 36))
    assert boxes.dtype == logits.dtype == names.dtype == np.float32


def test_find_returns_only_rows_with_at_least_min_logit():
    answers = answers_with(right=-3.0, corner=-3.1)
    boxes, logits, _ = find(answers, SIDE, min_logit=-3.0, nms_iou=0.45)
    assert np.allclose(boxes, [BOX])
    assert logits.tolist() == [-3]


def test_find_returns_empty_arrays_without_detections():
    boxes, logits, names = find(answers_with(), SIDE, min_logit=-3.0, nms_iou=0.45)
    assert (boxes.shape, logits.shape, names.shape) == ((0, 4), (0,), (0, 2))


def test_find_keeps_the_candidates_with_the_highest_scores():
    answers = np.zeros((2535, 7), np.float32)
    answers[:, 4] = np.arange(2535) / 1000
    _, logits, _ = find(answers, 416, min_logit=0.0, nms_iou=1.0)
    assert len(logits) == MAX_CANDIDATES
    assert np.allclose(logits, answers[::-1, 4][:MAX_CANDIDATES])


def test_net_overfits_two_images():
    """The first image has a bright block of class 0, the second a dark one of class 1."""
    torch.manual_seed(0)
    images = torch.full((2, 3, SIDE, SIDE), 128.0)
    images[0, :, 10:34, 20:40] = 250
    images[1, :, 28:64, 24:54] = 5
    boxes = torch.tensor([[[20.0, 10, 40, 34]], [[24.0, 28, 54, 64]]])
    real = torch.ones(2, 1, dtype=torch.bool)
    marks = Marks(boxes, real, real, torch.eye(2)[:, None])
    net = YoloV3Tiny(classes=2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, betas=(0.9, 0.99), fused=True)
    history = []
    for step in range(40):
        # Without a warm-up, boxes grow immediately to sizes at which their loss is flat.
        warmup, cosine = min(1, (step + 1) / 10), 0.5 + 0.5 * math.cos(math.pi * step / 40)
        optimizer.param_groups[0]["lr"] = 2e-4 * warmup * cosine
        answers = net(images)
        loss = losses(answers, marks, SIDE).total(1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.2 * history[0]
    for number, its in enumerate(answers.detach().numpy()):
        found, _, names = find(its, SIDE, min_logit=0.0, nms_iou=0.45)
        assert len(found) == 1
        assert np.abs(found[0] - boxes[number, 0].numpy()).max() < 4
        assert names[0].argmax() == number


def test_config_can_be_read():
    config = read_config(ROOT / "training" / "configs" / "yolov3_tiny.toml")
    assert (config.name, config.net, config.task) == ("yolov3_tiny", "yolov3_tiny", "packed_scenes")
    assert config.input_size == 416

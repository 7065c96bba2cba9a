"""Serving of YOLOv3-tiny: the decoder, with values computed by hand, and cards that name it."""

import json
import math

import numpy as np
import pytest

from app.deadline import Deadline
from app.errors import DeadlineExceeded, InvalidCard, ModelUnavailable
from app.vision.cells import MAX_CANDIDATES, MAX_LOG_SIZE
from app.vision.install import install
from app.vision.single_shot import SingleShotCard, SingleShotNet
from app.vision.yolov3 import Scale, Yolov3Decoder
from tests.graphs import single_shot_document, single_shot_graph
from tests.vision.test_single_shot import raster

SIDE = 64
SCALES = (
    Scale(32, ((40.0, 48.0), (60.0, 60.0))),
    Scale(16, ((10.0, 12.0), (20.0, 24.0))),
)
ROWS = 2 * 2 * 2 + 4 * 4 * 2
# The row of stride 16, cell in line 2 and column 3, anchor 20×24. With outputs of 0, the centre of
# the box is (3.5, 2.5) · 16.
ROW, BOX = 2 * 2 * 2 + (2 * 4 + 3) * 2 + 1, [46, 28, 66, 52]
DECODER = {
    "name": "yolov3",
    "scales": [
        {"stride": 32, "anchors": [[40, 48], [60, 60]]},
        {"stride": 16, "anchors": [[10, 12], [20, 24]]},
    ],
}


def decoder(*, logistic=False):
    return Yolov3Decoder(SCALES, logistic)


def make_outputs(**rows):
    """Outputs without faces, except for `r<row>=(t_x, t_y, t_w, t_h, objectness, classes …)`. There
    are 8 classes."""
    outputs = np.zeros((ROWS, 13), np.float32)
    outputs[:, 4] = -20
    for row, values in rows.items():
        outputs[int(row[1:]), : len(values)] = values
    return outputs


def test_number_of_rows_is_cells_times_anchors():
    assert decoder().rows(SIDE) == ROWS
    assert decoder().rows(2 * SIDE) == 4 * ROWS


def test_rows_are_ordered_by_scale_cell_and_anchor():
    boxes = decoder().decode(np.zeros((ROWS, 13), np.float32), SIDE)
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    assert centres[[0, 1, 2, 4, 8, 9, 10, 16, ROWS - 1]].tolist() == [
        [16, 16], [16, 16], [48, 16], [16, 48], [8, 8], [8, 8], [24, 8], [8, 24], [56, 56],
    ]  # fmt: skip
    assert sizes[[0, 1, 2, 7, 8, 9, ROWS - 1]].tolist() == [
        [40, 48], [60, 60], [40, 48], [60, 60], [10, 12], [20, 24], [20, 24],
    ]  # fmt: skip
    assert boxes[ROW].tolist() == BOX


def test_decode_moves_the_centre_by_sigmoids_and_scales_the_sides_exponentially():
    ln3 = math.log(3)
    outputs = make_outputs(**{f"r{ROW}": (ln3, -ln3, math.log(2), -math.log(2))})
    # The centre is (3.75, 2.25) · 16, the sides are 40 and 12.
    assert decoder().decode(outputs, SIDE)[ROW] == pytest.approx([40, 30, 80, 42])


def test_decode_does_not_overflow():
    outputs = make_outputs(**{f"r{ROW}": (-1000, 1000, 1000, -1000)})
    box = decoder().decode(outputs, SIDE)[ROW]
    width = 20 * math.exp(MAX_LOG_SIZE)
    assert box == pytest.approx([48 - width / 2, 48, 48 + width / 2, 48], rel=1e-5)


def test_best_of_overlapping_boxes_remains_with_its_logit():
    # The box of the cell on the left is moved by 8 pixels: IoU (12 · 24) / (2 · 480 - 288) = .43.
    outputs = make_outputs(
        **{f"r{ROW}": (0, 0, 0, 0, 2.0, 5), f"r{ROW - 2}": (100, 0, 0, 0, 1.0, 0, 5)}
    )
    boxes, logits, classes = decoder().find(outputs, SIDE, min_logit=0.0, nms_iou=0.4)
    assert boxes.tolist() == [BOX]
    assert logits.tolist() == [2.0]  # the suppressed box does not change the logit
    assert classes[0, 0] == 5
    assert len(decoder().find(outputs, SIDE, min_logit=0.0, nms_iou=0.45)[0]) == 2
    assert len(decoder().find(outputs, SIDE, min_logit=1.5, nms_iou=0.45)[0]) == 1
    boxes, logits, classes = decoder().find(outputs, SIDE, min_logit=2.5, nms_iou=0.45)
    assert (boxes.shape, logits.shape, classes.shape) == ((0, 4), (0,), (0, 8))


def test_only_the_best_candidates_are_used_if_there_are_too_many():
    side = 640
    outputs = np.zeros((decoder().rows(side), 13), np.float32)
    outputs[:, 4] = np.linspace(1, 2, len(outputs))
    _, logits, _ = decoder().find(outputs, side, min_logit=0.0, nms_iou=1.0)
    assert len(logits) == MAX_CANDIDATES
    assert logits.min() >= np.sort(outputs[:, 4])[-MAX_CANDIDATES]


def document(**changes):
    return single_shot_document("tiny", side=SIDE) | {"decoder": DECODER} | changes


def write(tmp_path, outputs, **changes):
    card = document(**changes)
    del card["weights"]
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "tiny.onnx").write_bytes(single_shot_graph(outputs))
    return tmp_path / "tiny.onnx", tmp_path / "card.json", tmp_path / "models"


def installed(tmp_path, outputs, **changes):
    paths = write(tmp_path, outputs, **changes)
    install(*paths)
    return SingleShotNet.load(tmp_path / "models" / "tiny")


FACE = {f"r{ROW}": (0, 0, 0, 0, 3.0, 0, 2.0, -1.0)}


def test_installed_network_finds_and_classifies_a_face(tmp_path):
    net = installed(tmp_path, make_outputs(**FACE), score={"scale": 0.5, "bias": -1.0})
    ((detection, emotions),) = net.find(raster(2 * SIDE, 2 * SIDE), 1.0)
    assert detection.box.xyxy == pytest.approx([92, 56, 128, 104])  # cut at the edge of the image
    assert detection.score == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert emotions.exclusive
    others = 6 + math.exp(-1)
    assert emotions["happiness"] == pytest.approx(math.exp(2) / (math.exp(2) + others))


def test_sigmoids_of_exclusive_classes_are_divided_by_their_sum(tmp_path):
    net = installed(tmp_path, make_outputs(**FACE), decoder=DECODER | {"classes": "logistic"})
    ((_, emotions),) = net.find(raster(SIDE, SIDE), 1.0)
    sigmoids = [1 / (1 + math.exp(-logit)) for logit in (0, 2, -1, 0, 0, 0, 0, 0)]
    assert [*emotions.values()] == pytest.approx([each / sum(sigmoids) for each in sigmoids])


@pytest.mark.parametrize("classes", ["softmax", "logistic"])
def test_classes_that_are_not_exclusive_are_sigmoids(tmp_path, classes):
    changes = {"exclusive": False, "decoder": DECODER | {"classes": classes}, "temperature": 2.0}
    net = installed(tmp_path, make_outputs(**FACE), **changes)
    ((_, emotions),) = net.find(raster(SIDE, SIDE), 1.0)
    assert not emotions.exclusive
    assert emotions["happiness"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert emotions["neutral"] == pytest.approx(0.5)


def test_network_with_another_number_of_rows_is_rejected(tmp_path):
    paths = write(tmp_path, make_outputs()[:-1])
    with pytest.raises(ModelUnavailable, match=r"requires float32 of shape \(2, 40, 13\)"):
        install(*paths)
    assert list((tmp_path / "models").iterdir()) == []


def test_find_after_the_deadline_raises(tmp_path):
    with pytest.raises(DeadlineExceeded):
        installed(tmp_path, make_outputs(**FACE)).find(raster(SIDE, SIDE), 1.0, Deadline(0))


def scale(**changes):
    return DECODER | {"scales": [DECODER["scales"][0] | changes]}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("yolov3", "must be an object"),
        (None, "decoder"),
        ({"name": "yolov9"}, "cells, yolov3"),
        ({"name": ["yolov3"]}, "cells, yolov3"),
        ({"name": "yolov3"}, "scales"),
        (DECODER | {"scales": []}, "scales"),
        (DECODER | {"classes": "argmax"}, "classes"),
        (scale(stride=7), "stride"),
        (scale(anchors=[]), "anchors"),
        (scale(anchors=[[10]]), "anchors"),
        (scale(anchors=[[10, 0]]), "anchors"),
        (scale(anchors=[[10, 10**400]]), "anchors"),
    ],
)
def test_invalid_decoder_is_rejected(wrong, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        SingleShotCard.parse(document(decoder=wrong))


def test_default_decoder_is_cells():
    plain = {key: value for key, value in document().items() if key != "decoder"}
    assert SingleShotCard.parse(plain).decoder.rows(SIDE) == 84
    assert SingleShotCard.parse(plain | {"decoder": {"name": "cells"}}).decoder.rows(SIDE) == 84

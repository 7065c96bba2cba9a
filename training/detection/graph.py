"""Export of single_shot as one ONNX graph: detection, suppression, RoiAlign, classification.

The exporter of PyTorch writes the detector and the expression head. They are joined with the ONNX
operators NonMaxSuppression and RoiAlign, so expressions are computed only for the detected faces.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from app.vision.cells import MAX_CANDIDATES, MAX_STRIDE, MIN_LOGIT, STRIDES
from training.detection.boxes import Cells, decode
from training.detection.regions import SAMPLES, squares
from training.nets.single_shot import NMS_IOU, REGION_SCALE, REGION_SIZES, SingleShot
from training.onnx_files import OPSET, save

# Prefixes of the names in the graph. Committed files contain them.
DETECTOR, EXPRESSION_HEAD = "finder/", "namer/"
FEATURES = tuple(f"features_{stride}" for stride in REGION_SIZES)


class _Detector(nn.Module):
    """From squares (n, side, side, 3) uint8 to outputs (n, cells, 5), boxes (n, cells, 4), regions
    for the classification (n, cells, 4), scores (n, 1, cells) and features."""

    def __init__(self, net: SingleShot) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.net.detect(images.permute(0, 3, 1, 2).float())
        boxes = decode(output.cells[..., :4], _cells(images.shape[1]))
        regions = squares(boxes.flatten(0, 1), REGION_SCALE).view(boxes.shape)
        scores = output.cells[..., 4][:, None]
        return output.cells, boxes, regions, scores, *output.features


def _cells(side: int) -> Cells:
    """Return Cells.of(side) for a dynamic side."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (torch.arange(side // stride, dtype=torch.float32) + 0.5) * stride
        rows = steps[:, None].expand(-1, side // stride).reshape(-1)
        columns = steps[None].expand(side // stride, -1).reshape(-1)
        centres.append(torch.stack([columns, rows], dim=1))
        strides.append(torch.full_like(rows, float(stride))[:, None])
    return Cells(torch.cat(centres), torch.cat(strides))


def write(net: SingleShot, path: Path) -> None:
    """Write `net` with a dynamic batch size and dynamic sides, which are multiples of MAX_STRIDE.
    The input is `squares`, and the output is `outputs` (n, cells, 5 + classes)."""
    net = net.eval()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own code
        detector = _detector(net, Path(folder) / "detector.onnx")
        head = _expression_head(net, Path(folder) / "head.onnx")
    model = _joined(detector, head, net.classes)
    onnx.checker.check_model(model, full_check=True)
    save(model, path)


def _detector(net: SingleShot, path: Path) -> onnx.ModelProto:
    side = MAX_STRIDE * torch.export.Dim("cells", min=2, max=64)
    torch.onnx.export(
        _Detector(net),
        (torch.zeros(2, 128, 128, 3, dtype=torch.uint8),),
        path,
        input_names=["squares"],
        output_names=["answers_only", "boxes", "regions", "scores", *FEATURES],
        dynamic_shapes={"images": {0: torch.export.Dim("n", min=1, max=64), 1: side, 2: side}},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return onnx.load(path)


def _expression_head(net: SingleShot, path: Path) -> onnx.ModelProto:
    channels = [stage[-1].norm.num_features for stage in net.stages[: len(REGION_SIZES)]]
    example = tuple(
        torch.zeros(2, width, size, size)
        for width, size in zip(channels, REGION_SIZES.values(), strict=True)
    )
    faces = torch.export.Dim("faces", min=1, max=4096)
    names = [f"region_{stride}" for stride in REGION_SIZES]
    torch.onnx.export(
        net.namer,
        example,
        path,
        input_names=names,
        output_names=["names"],
        dynamic_shapes={name: {0: faces} for name in ("at_2", "at_4", "at_8")},
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return onnx.load(path)


def _joined(detector: onnx.ModelProto, head: onnx.ModelProto, classes: int) -> onnx.ModelProto:
    detector = onnx.compose.add_prefix(detector, DETECTOR)
    head = onnx.compose.add_prefix(head, EXPRESSION_HEAD)
    constants: dict[str, NDArray[Any]] = {
        "most": np.array([MAX_CANDIDATES], np.int64),
        "nms_iou": np.array([NMS_IOU], np.float32),
        "least_logit": np.array([MIN_LOGIT], np.float32),
        "first": np.array(0, np.int64),
        "first_and_last": np.array([0, 2], np.int64),
        "classes": np.array([classes], np.int64),
        "start": np.array([0], np.int64),
        "end": np.array([2], np.int64),
    }
    middle = [
        helper.make_node(
            "NonMaxSuppression",
            [DETECTOR + "boxes", DETECTOR + "scores", "most", "nms_iou", "least_logit"],
            ["kept"],
        ),
        helper.make_node("Gather", ["kept", "first_and_last"], ["places"], axis=1),
        helper.make_node("Gather", ["kept", "first"], ["scenes"], axis=1),
        helper.make_node("GatherND", [DETECTOR + "regions", "places"], ["kept_regions"]),
    ]
    for (stride, size), name in zip(REGION_SIZES.items(), FEATURES, strict=True):
        middle.append(
            helper.make_node(
                "RoiAlign",
                [DETECTOR + name, "kept_regions", "scenes"],
                [f"{EXPRESSION_HEAD}region_{stride}"],
                mode="avg",
                output_height=size,
                output_width=size,
                sampling_ratio=SAMPLES,
                spatial_scale=1 / stride,
                coordinate_transformation_mode="half_pixel",
            )
        )
    after = [
        helper.make_node("Shape", [DETECTOR + "answers_only"], ["shape"]),
        helper.make_node("Slice", ["shape", "start", "end"], ["shape_of_cells"]),
        helper.make_node("Concat", ["shape_of_cells", "classes"], ["shape_of_names"], axis=0),
        helper.make_node(
            "ConstantOfShape",
            ["shape_of_names"],
            ["no_names"],
            value=helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        ),
        helper.make_node(
            "ScatterND", ["no_names", "places", EXPRESSION_HEAD + "names"], ["all_names"]
        ),
        helper.make_node("Concat", [DETECTOR + "answers_only", "all_names"], ["answers"], axis=2),
    ]
    squares_in = detector.graph.input[0]
    old = squares_in.name
    squares_in.name = "squares"
    for node in detector.graph.node:
        node.input[:] = ["squares" if each == old else each for each in node.input]
    graph = helper.make_graph(
        [*detector.graph.node, *middle, *head.graph.node, *after],
        "single_shot",
        [squares_in],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["n", "rows", 5 + classes])],
        [
            *detector.graph.initializer,
            *head.graph.initializer,
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=detector.ir_version
    )

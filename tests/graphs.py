"""Small ONNX graphs for tests: valid ones, and graphs with a fault."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import LABELS, card_document

SIDE = 48


def graph(
    *,
    outputs: int = 8,
    side: int = SIDE,
    batch: int | str = "n",
    dtype: int = TensorProto.UINT8,
    operator: str = "Flatten",
    domain: str = "",
    weight: float = 1e-4,
    bias_of_neutral: float = 0.0,
    opset: int = 18,
) -> onnx.ModelProto:
    """A graph with grey crops as input and logits as output: a dense layer on the pixels. The
    logit of label 1 grows with the brightness of the crop."""
    weights = np.zeros((side * side, outputs), np.float32)
    weights[:, 1] = weight
    nodes = [
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node(operator, ["grey"], ["pixels"], domain=domain),
        helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    crops = helper.make_tensor_value_info("crops", dtype, [batch, 1, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, outputs])
    bias = np.zeros(outputs, np.float32)
    bias[0] = bias_of_neutral
    initial = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(bias, "bias"),
    ]
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(
        helper.make_graph(nodes, "g", [crops], [logits], initial),
        opset_imports=opsets,
        ir_version=9,
    )


def endless_graph(*, outputs: int = 8, while_darker_than: int | None = None) -> bytes:
    """A graph with an endless loop. With `while_darker_than`, the loop is entered only if all
    pixels are darker than this value."""
    values = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("Add", ["count", "one"], ["counted"]),
        ],
        "body",
        [
            values("turn", TensorProto.INT64, []),
            values("go_on", TensorProto.BOOL, []),
            values("count", TensorProto.FLOAT, [1]),
        ],
        [values("still", TensorProto.BOOL, []), values("counted", TensorProto.FLOAT, [1])],
    )
    limit = 256 if while_darker_than is None else while_darker_than
    nodes = [
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["grey"], ["brightest"], keepdims=0),
        helper.make_node("Less", ["brightest", "limit"], ["dark"]),
        helper.make_node("Loop", ["", "dark", "zero"], ["counts"], body=body),
        helper.make_node("Flatten", ["grey"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
        helper.make_node("Add", ["product", "counts"], ["logits"]),
    ]
    initial = [
        numpy_helper.from_array(np.array(limit, np.float32), "limit"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
        numpy_helper.from_array(np.zeros((SIDE * SIDE, outputs), np.float32), "weights"),
    ]
    graph_proto = helper.make_graph(
        nodes,
        "g",
        [values("crops", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [values("logits", TensorProto.FLOAT, ["n", outputs])],
        initial,
    )
    return serialized(graph_proto)


def serialized(graph_proto: onnx.GraphProto) -> bytes:
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph_proto, opset_imports=opsets, ir_version=9).SerializeToString()


def nan_when_black_graph(outputs: int = 8) -> bytes:
    """A graph that adds the logarithm of the brightest pixel, so a black batch gives NaN or
    infinity."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["grey"], ["brightest"], keepdims=0),
        helper.make_node("Log", ["brightest"], ["log"]),
        helper.make_node("Flatten", ["grey"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
        helper.make_node("Add", ["product", "log"], ["logits"]),
    ]
    graph_proto = helper.make_graph(
        nodes,
        "g",
        [value("crops", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [value("logits", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(np.zeros((SIDE * SIDE, outputs), np.float32), "weights")],
    )
    return serialized(graph_proto)


def pairs_only_graph(outputs: int = 8) -> bytes:
    """A graph whose output has the expected shape for two crops, and another shape for any other
    number of crops."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["grey", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Slice", ["column", "start", "end", "rows"], ["two"]),
        helper.make_node("Expand", ["one", "pair"], ["ones"]),
        helper.make_node("Add", ["two", "ones"], ["logits"]),
    ]
    graph_proto = helper.make_graph(
        nodes,
        "g",
        [value("crops", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [value("logits", TensorProto.FLOAT, ["m", outputs])],
        [
            numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
            numpy_helper.from_array(np.array([-1, 1]), "shape"),
            numpy_helper.from_array(np.array([0]), "start"),
            numpy_helper.from_array(np.array([2]), "end"),
            numpy_helper.from_array(np.array([0]), "rows"),
            numpy_helper.from_array(np.zeros((1, 1), np.float32), "one"),
            numpy_helper.from_array(np.array([2, outputs]), "pair"),
        ],
    )
    return serialized(graph_proto)


def write_weights_model(folder: Path, weights: bytes) -> Path:
    """Write a model folder with these weights and a card for crops of SIDE pixels and 8 labels."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(weights)
    document = card_document(folder.name)
    document["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "card.json").write_text(json.dumps(document))
    return folder


def write_graph(path: Path, **changes: object) -> Path:
    path.write_bytes(graph(**changes).SerializeToString())
    return path


def write_external(path: Path, location: str) -> Path:
    """Write a graph with external data at `location`, relative to the folder of the graph."""
    onnx.save(
        graph(),
        path,
        save_as_external_data=True,
        location="elsewhere.bin",
        size_threshold=0,
    )
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return path


def write_graph_model(folder: Path, labels: tuple[str, ...] = LABELS, **changes: object) -> Path:
    """Write a model folder with a valid graph and a matching card."""
    folder.mkdir(parents=True)
    weights = write_graph(folder / "model.onnx", outputs=len(labels), **changes).read_bytes()
    document = card_document(folder.name, labels)
    document["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "card.json").write_text(json.dumps(document))
    return folder


def two_branch_graph(
    *,
    labels: int = 26,
    by_body: int = 0,
    by_scene: int = 1,
    body: int = 8,
    scene: int = 16,
    valence_at_white: float = 9.0,
) -> bytes:
    """A graph with two input images, `body` and `scene`, and the outputs `categories` and
    `dimensions`.

    The score of category `by_body` is sigmoid(mean of the body - 128), and the score of `by_scene`
    is sigmoid(mean of the scene - 128). All other scores are sigmoid(-9). The first of the three
    dimensions is 1 plus the share of white in the body times `valence_at_white`; the others are 5.
    """
    sides = {"body": body, "scene": scene}
    nodes, initial = [], []
    for name, column in (("body", by_body), ("scene", by_scene)):
        weights = np.zeros((1, labels), np.float32)
        weights[0, column] = 1
        initial.append(numpy_helper.from_array(weights, f"{name}_weights"))
        nodes += [
            helper.make_node("Cast", [name], [f"{name}_values"], to=TensorProto.FLOAT),
            helper.make_node(
                "ReduceMean", [f"{name}_values", "axes"], [f"{name}_mean"], keepdims=0
            ),
            helper.make_node("Reshape", [f"{name}_mean", "column"], [f"{name}_column"]),
            helper.make_node("MatMul", [f"{name}_column", f"{name}_weights"], [f"{name}_logits"]),
        ]
    bias = np.full(labels, -9, np.float32)
    bias[[by_body, by_scene]] = -128
    initial += [
        numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        numpy_helper.from_array(np.array([-1, 1]), "column"),
        numpy_helper.from_array(bias, "bias"),
        numpy_helper.from_array(np.array([[valence_at_white / 255, 0, 0]], np.float32), "valence"),
        numpy_helper.from_array(np.array([1, 5, 5], np.float32), "middle"),
    ]
    nodes += [
        helper.make_node("Sum", ["body_logits", "scene_logits", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["categories"]),
        helper.make_node("MatMul", ["body_column", "valence"], ["valences"]),
        helper.make_node("Add", ["valences", "middle"], ["dimensions"]),
    ]
    value = helper.make_tensor_value_info
    graph_proto = helper.make_graph(
        nodes,
        "g",
        [value(name, TensorProto.UINT8, ["n", 3, side, side]) for name, side in sides.items()],
        [
            value("dimensions", TensorProto.FLOAT, ["n", 3]),
            value("categories", TensorProto.FLOAT, ["n", labels]),
        ],
        initial,
    )
    return serialized(graph_proto)


def single_shot_graph(outputs: np.ndarray, *, brightness: np.ndarray | None = None) -> bytes:
    """A graph with squares (n, side, side, 3) uint8 as input. For each square it returns `outputs`
    (cells, 5 + classes) plus `brightness` (same shape) times the mean value of the square."""
    brightness_weights = np.zeros_like(outputs) if brightness is None else brightness
    nodes = [
        helper.make_node("Cast", ["squares"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["values", "axes"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["means"]),
        helper.make_node("Mul", ["means", "brightness"], ["product"]),
        helper.make_node("Add", ["product", "constant"], ["outputs"]),
    ]
    initial = [
        numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        numpy_helper.from_array(np.array([-1, 1, 1]), "shape"),
        numpy_helper.from_array(brightness_weights[None].astype(np.float32), "brightness"),
        numpy_helper.from_array(outputs[None].astype(np.float32), "constant"),
    ]
    squares = helper.make_tensor_value_info("squares", TensorProto.UINT8, ["n", "h", "w", 3])
    output = helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["n", *outputs.shape])
    graph_proto = helper.make_graph(nodes, "g", [squares], [output], initial)
    return serialized(graph_proto)


def write_single_shot(
    folder: Path, outputs: np.ndarray, *, side: int, labels: tuple[str, ...] = LABELS
) -> Path:
    """Write a model folder with a single-shot network that returns `outputs` for every image."""
    folder.mkdir(parents=True)
    weights = single_shot_graph(outputs)
    (folder / "model.onnx").write_bytes(weights)
    document = single_shot_document(folder.name, side=side, labels=labels)
    document["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "card.json").write_text(json.dumps(document))
    return folder


def single_shot_document(
    name: str, *, side: int = 64, labels: tuple[str, ...] = LABELS
) -> dict[str, object]:
    document = card_document(name, labels)
    del document["crop_scale"]
    return document | {
        "kind": "single_shot",
        "input": {"sizes": [side]},
        "score": {"scale": 1.0, "bias": 0.0},
    }

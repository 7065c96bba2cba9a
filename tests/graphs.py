"""Small ONNX graphs for tests: grey crops in, logits out, and what can be wrong with them."""

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
    """A dense layer on the crop's pixels: label 1 is the likelier the brighter the crop is."""
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


def write_graph(path: Path, **changes: object) -> Path:
    path.write_bytes(graph(**changes).SerializeToString())
    return path


def write_external(path: Path, location: str) -> Path:
    """A graph whose weights lie in another file, at `location` seen from the graph's folder."""
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
    """A model folder with a graph that runs and a card that fits it."""
    folder.mkdir(parents=True)
    weights = write_graph(folder / "model.onnx", outputs=len(labels), **changes).read_bytes()
    document = card_document(folder.name, labels)
    document["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "card.json").write_text(json.dumps(document))
    return folder

"""Sessions of ONNX Runtime with small graphs: inputs, outputs, errors and deadlines."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from onnx import TensorProto

from app.deadline import Deadline
from app.errors import DeadlineExceeded, ModelUnavailable
from app.vision.session import OnnxSession
from app.vision.tensors import Signature, Tensor, single_tensor_signature
from tests.graphs import (
    SIDE,
    endless_graph,
    graph,
    nan_when_black_graph,
    pairs_only_graph,
    two_branch_graph,
    write_external,
)


def session(weights):
    return OnnxSession(
        weights, signatures=[single_tensor_signature((1, SIDE, SIDE), (8,))], threads=1
    )


def run(onnx_session, crops, *deadline):
    return onnx_session.run({"input": crops}, *deadline)["output"]


def test_run_returns_logits_for_each_crop():
    crops = np.stack([np.full((1, SIDE, SIDE), gray, np.uint8) for gray in (0, 100, 200)])
    logits = run(session(graph().SerializeToString()), crops)
    assert logits.shape == (3, 8)
    assert np.allclose(logits[:, 1], [0, 100 * SIDE**2 * 1e-4, 200 * SIDE**2 * 1e-4], rtol=1e-4)


BROKEN = {
    "empty": (b"", "not an ONNX file"),
    "text": (b"weights" * 100, "not an ONNX file"),
    "truncated": (graph().SerializeToString()[:5000], "truncated"),
    "an unknown operator": (graph(operator="Fold").SerializeToString(), "operator"),
    "another's operator": (graph(operator="Fold", domain="my.own").SerializeToString(), "operator"),
    "a newer opset": (graph(opset=99).SerializeToString(), "newer"),
    "floats in": (graph(dtype=TensorProto.FLOAT).SerializeToString(), "one tensor of uint8"),
    "another size": (graph(side=64).SerializeToString(), r"items of shape \(1, 48, 48\)"),
    "too few outputs": (
        graph(outputs=5).SerializeToString(),
        r"requires float32 of shape \(2, 8\)",
    ),
    "one crop at a time": (graph(batch=1).SerializeToString(), "batch of 2"),
    "not a number": (graph(weight=float("nan")).SerializeToString(), "NaN"),
    "infinity": (graph(weight=1e38).SerializeToString(), "infinity"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_invalid_weights_are_rejected_with_one_line_without_paths(case):
    weights, complaint = BROKEN[case]
    with pytest.raises(ModelUnavailable, match=complaint) as caught:
        session(weights)
    assert "\n" not in str(caught.value)
    assert "/" not in str(caught.value)


@pytest.mark.parametrize("location", ["elsewhere.bin", "../elsewhere.bin", "/etc/hostname"])
def test_external_data_files_are_not_read(tmp_path, monkeypatch, location):
    """By default, ONNX Runtime looks for such files in the working directory."""
    (tmp_path / "in").mkdir()
    path = write_external(tmp_path / "in" / "model.onnx", location)
    (tmp_path / "elsewhere.bin").write_bytes((tmp_path / "in" / "elsewhere.bin").read_bytes())
    for folder in (tmp_path / "in", tmp_path):
        monkeypatch.chdir(folder)
        with pytest.raises(ModelUnavailable, match="external data files"):
            session(path.read_bytes())


def items(*grays):
    return np.stack([np.full((1, SIDE, SIDE), gray, np.uint8) for gray in grays])


def test_run_stops_at_the_deadline():
    """The graph ends for the noise of the probe, and never ends for a dark crop."""
    never_ends = session(endless_graph(while_darker_than=10))
    assert run(never_ends, items(0, 20)).shape == (2, 8)
    with pytest.raises(DeadlineExceeded):
        run(never_ends, items(0, 5), Deadline.after(0.5))


def test_run_after_the_deadline_does_not_start():
    with pytest.raises(DeadlineExceeded):
        run(session(graph().SerializeToString()), items(1), Deadline(0))


def test_run_rejects_nan_and_infinity():
    """The graph passes the probe, whose items are not all black."""
    onnx_session = session(nan_when_black_graph())
    assert np.isfinite(run(onnx_session, items(0, 1))).all()
    with pytest.raises(ModelUnavailable, match="NaN or infinity"):
        run(onnx_session, items(0))


def test_run_rejects_outputs_of_another_shape():
    """The graph passes the probe, which has two items."""
    onnx_session = session(pairs_only_graph())
    assert run(onnx_session, items(1, 2)).shape == (2, 8)
    for crops in (items(1, 2, 3), items(*range(5))):
        with pytest.raises(ModelUnavailable, match=r"requires float32 of shape \(\d, 8\)"):
            run(onnx_session, crops)


BODY, SCENE = Tensor("body", "uint8", (3, 8, 8)), Tensor("scene", "uint8", (3, 16, 16))
CATEGORIES = Tensor("categories", "float32", (26,))
DIMENSIONS = Tensor("dimensions", "float32", (3,))


def named_session(inputs=(BODY, SCENE), outputs=(CATEGORIES, DIMENSIONS)):
    return OnnxSession(two_branch_graph(), signatures=[Signature(inputs, outputs)], threads=1)


def two_images(count):
    body = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return {
        "body": np.broadcast_to(body, (count, *BODY.shape)),
        "scene": np.full((count, *SCENE.shape), 255, np.uint8),
    }


@pytest.mark.parametrize("inputs", [(BODY, SCENE), (SCENE, BODY)])
def test_tensors_are_matched_by_name(inputs):
    """The graph returns the dimensions before the categories."""
    outputs = named_session(inputs).run(two_images(3))
    assert list(outputs) == ["categories", "dimensions"]
    assert outputs["categories"][:, 1] == pytest.approx(1)  # the score that depends on the scene
    assert outputs["categories"][:, 0] == pytest.approx(0, abs=1e-6)
    expected = [[1 + 9 * body / 255, 5, 5] for body in range(3)]
    assert outputs["dimensions"] == pytest.approx(np.array(expected), abs=1e-4)


def test_only_the_outputs_of_the_signature_are_returned():
    assert list(named_session(outputs=(DIMENSIONS,)).run(two_images(2))) == ["dimensions"]


def test_large_input_is_split_into_the_same_batches_for_all_tensors(monkeypatch):
    onnx_session = named_session()
    whole = onnx_session.run(two_images(200))
    monkeypatch.setattr("app.vision.session.MAX_BATCH", 64)
    batches = Mock(wraps=onnx_session._session)
    monkeypatch.setattr(onnx_session, "_session", batches)
    split = onnx_session.run(two_images(200))
    assert batches.run.call_count == 4
    for name in ("categories", "dimensions"):
        assert split[name] == pytest.approx(whole[name], abs=1e-6)


def test_inputs_of_different_lengths_raise_value_error():
    inputs = two_images(3) | {"scene": two_images(2)["scene"]}
    with pytest.raises(ValueError, match="too many values"):
        named_session().run(inputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "complaint"),
    [
        ((BODY,), (CATEGORIES,), "exactly the inputs of the card: body"),
        (
            (BODY, replace(SCENE, name="face")),
            (CATEGORIES,),
            "exactly the inputs of the card: body, face",
        ),
        ((BODY, replace(SCENE, dtype="float32")), (CATEGORIES,), "take float32 as 'scene'"),
        ((BODY, replace(SCENE, shape=(16, 16, 3))), (CATEGORIES,), "shape .* as 'scene'"),
        ((BODY, SCENE), (replace(CATEGORIES, name="scores"),), "return a tensor 'scores'"),
        ((BODY, SCENE), (replace(CATEGORIES, shape=(8,)),), r"\(2, 26\) as 'categories'"),
        ((BODY, SCENE), (replace(CATEGORIES, dtype="int64"),), "requires int64"),
    ],
)
def test_graph_with_other_tensors_is_rejected(inputs, outputs, complaint):
    with pytest.raises(ModelUnavailable, match=complaint):
        named_session(inputs, outputs)

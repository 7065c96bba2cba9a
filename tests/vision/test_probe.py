"""Probes of weights in a separate process: crashes, endless loops, memory and caching."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.errors import ModelUnavailable
from app.settings import ROOT
from app.vision import probe
from app.vision.session import OnnxSession
from app.vision.tensors import single_tensor_signature
from tests.graphs import SIDE, endless_graph, graph

SIGNATURES = [single_tensor_signature((1, SIDE, SIDE), (8,))]


@pytest.fixture(autouse=True)
def no_cached_results(monkeypatch):
    monkeypatch.setattr(probe, "_results", {})


def load(weights):
    return OnnxSession(weights, signatures=SIGNATURES, threads=1)


def greedy_graph():
    """A graph that needs 100 GB of memory."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["crops"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["grey"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
        helper.make_node("Add", ["product", "sum"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    graph_proto = helper.make_graph(
        nodes,
        "g",
        [value("crops", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [value("logits", TensorProto.FLOAT, ["n", 8])],
        [
            numpy_helper.from_array(np.array([25_000, 1_000_000]), "shape"),
            numpy_helper.from_array(np.zeros((SIDE * SIDE, 8), np.float32), "weights"),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph_proto, opset_imports=opsets, ir_version=9).SerializeToString()


def test_valid_weights_are_probed_once(monkeypatch):
    probes = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: probes.append(1) or real(*a, **k))
    weights = graph().SerializeToString()
    for _ in range(3):
        load(weights)
    assert len(probes) == 1
    with pytest.raises(ModelUnavailable, match="requires float32"):
        OnnxSession(weights, signatures=[single_tensor_signature((1, SIDE, SIDE), (7,))], threads=1)
    assert len(probes) == 2


def test_endless_graph_is_stopped_and_the_result_is_cached(monkeypatch):
    monkeypatch.setattr(probe, "CPU_SECONDS", 1)
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(ModelUnavailable, match="more than 1 seconds of CPU time"):
            load(endless_graph())
    assert time.monotonic() - start < 0.5  # the second result comes from the cache


def test_probe_is_stopped_after_the_time_limit(monkeypatch):
    monkeypatch.setattr(probe, "WALL_SECONDS", 0.5)
    monkeypatch.setattr(probe, "COMMAND", (sys.executable, "-c", "import time; time.sleep(30)"))
    with pytest.raises(ModelUnavailable, match=r"more than 0\.5 seconds"):
        load(graph().SerializeToString())


def test_graph_that_needs_too_much_memory_is_rejected():
    with pytest.raises(ModelUnavailable, match="more memory than is allowed"):
        load(greedy_graph())


@pytest.mark.parametrize(
    "end",
    [
        "import os; os.abort()",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "raise SystemExit(3)",
        "pass",
        "print('[]')",
        "print('{\"problem\"')",
        "import ctypes; ctypes.string_at(0)",
    ],
)
def test_weights_that_terminate_the_process_are_rejected(monkeypatch, end):
    monkeypatch.setattr(probe, "COMMAND", (sys.executable, "-c", end))
    with pytest.raises(ModelUnavailable, match="the process that runs them"):
        load(graph().SerializeToString())


def test_probe_process_does_not_get_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOTION_PICTURES_KEY", "secret")
    copy = tmp_path / "environment"
    script = f"import os, pathlib; pathlib.Path({str(copy)!r}).write_text(repr(dict(os.environ)))"
    monkeypatch.setattr(probe, "COMMAND", (sys.executable, "-c", script))
    with pytest.raises(ModelUnavailable):
        load(graph().SerializeToString())
    assert "secret" not in copy.read_text()


def test_known_weights_are_the_committed_models():
    cards = [json.loads(path.read_text()) for path in (ROOT / "models").glob("*/card.json")]
    assert {
        card["weights"]["sha256"]: tuple(card["input"].get("sizes") or [card["input"]["size"]])
        for card in cards
    } == probe.KNOWN_WEIGHTS


def test_known_weights_skip_the_probe_only_at_their_input_sizes(monkeypatch):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(probe, "_run", fail)
    weights = (ROOT / "models" / "single_shot" / "model.onnx").read_bytes()
    probe.probe_weights("onnx", weights, [], sizes=frozenset({320, 640}))
    for sizes in ({2048}, {320, 2048}):
        with pytest.raises(AssertionError):
            probe.probe_weights("onnx", weights, [], sizes=frozenset(sizes))
    with pytest.raises(AssertionError):
        probe.probe_weights("onnx", weights + b"\0", [], sizes=frozenset({320}))

"""The ONNX Runtime session: the only place that knows threads, memory and batches."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import ModelUnavailable
from app.vision.probe import try_out
from app.vision.tensors import DTYPES, Shape, Signature, Tensor

Arrays = Mapping[str, NDArray[Any]]

# All faces of an image are one batch, up to this many: an operator may allow images with more,
# and memory must stay bounded.
MAX_BATCH = 256
MAX_CHANNELS = 3  # of an item; its other sides are pixels

# Parts of the runtime's messages, which may hold paths, and the messages that replace them.
NO_GRAPH = "are not a graph that runs"
_REFUSALS = (
    ("alloc", "take more memory than is allowed"),
    ("External data", "keep part of themselves in another file; export them as one file"),
    ("No Op registered", "use an operator that this ONNX Runtime does not have"),
    ("is not a registered function/op", "use an operator that this ONNX Runtime does not have"),
    ("opset", "were made for a newer ONNX Runtime"),
    ("IR version", "were made for a newer ONNX Runtime"),
    ("protobuf parsing failed", "are no ONNX file, or a damaged or truncated one"),
    ("No graph was found", "are no ONNX file, or a damaged or truncated one"),
)


class Session(Protocol):
    """What a model needs of a session."""

    def run(self, inputs: Arrays, deadline: Deadline) -> dict[str, NDArray[Any]]: ...


class LocalSession:
    """One set of weights, ready to run. Make it after the fork: its threads do not survive one.

    `signatures` are the runs that the weights must support; they differ in their shapes only.
    Thread-safe: ONNX Runtime allows concurrent `run` calls on one session. Raises ModelUnavailable
    when the weights are no ONNX graph with these tensors, or return NaN or infinity.
    """

    def __init__(self, weights: bytes, *, signatures: Sequence[Signature], threads: int) -> None:
        self._signatures = {each.input_shapes: each for each in signatures}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Errors come as exceptions; the runtime's own log lines hold file paths.
        options.log_severity_level = 4
        # An arena only grows: one crowd of faces would take the memory for ever.
        options.enable_cpu_mem_arena = False
        # Weights are these bytes and nothing else. Without this the runtime would read tensors
        # from any file below the working directory that the graph names.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", "/dev/null"
        )
        try:
            self._session = onnxruntime.InferenceSession(
                weights, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own exceptions share no other base
            raise ModelUnavailable(f"the weights {_refusal(str(error), NO_GRAPH)}") from error
        # Our names of tensors, and the names in the graph.
        self._inputs, self._outputs = _bind(self._session, signatures[0])
        for signature in signatures:
            self._check_shapes(signature)
        for signature in signatures:
            self._probe(signature)

    def _check_shapes(self, signature: Signature) -> None:
        declared = {each.name: each.shape for each in self._session.get_inputs()}
        for tensor in signature.inputs:
            if not _takes(declared[self._inputs[tensor.name]][1:], tensor.shape):
                raise ModelUnavailable(
                    f"the weights must take items of shape {tensor.shape}{_as(tensor, signature)}"
                )

    def _probe(self, signature: Signature) -> None:
        """Run a flat and a noisy item in one batch: flat ones find divisions by zero."""
        random = np.random.default_rng(0)
        self.run({tensor.name: _flat_and_noisy(tensor, random) for tensor in signature.inputs})

    def run(self, inputs: Arrays, deadline: Deadline = NEVER) -> dict[str, NDArray[Any]]:
        """The outputs by name, each (n, …), for `inputs` by name, each (n, …), n at least 1.

        Raises DeadlineExceeded soon after the deadline, and ModelUnavailable when the graph fails
        on these items or returns another shape or dtype than expected, NaN or infinity.
        """
        (count,) = {len(array) for array in inputs.values()}
        chunks = [
            self._run_batch(
                {name: array[start : start + MAX_BATCH] for name, array in inputs.items()}, deadline
            )
            for start in range(0, count, MAX_BATCH)
        ]
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in self._outputs}

    def _run_batch(self, batch: Arrays, deadline: Deadline) -> dict[str, NDArray[Any]]:
        shapes = tuple(batch[name].shape[1:] for name in self._inputs)
        signature = self._signatures[shapes]
        feed = {graph_name: batch[name] for name, graph_name in self._inputs.items()}
        count = len(next(iter(feed.values())))
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        deadline.check()
        try:
            with _terminated_at(deadline, options):
                outputs = self._session.run([*self._outputs.values()], feed, options)
        except Exception as error:  # see above
            deadline.check()
            said = " and ".join(map(str, shapes))
            refusal = f"cannot take a batch of {count} items of shape {said}"
            raise ModelUnavailable(f"the weights {_refusal(str(error), refusal)}") from error
        for tensor, output in zip(signature.outputs, outputs, strict=True):
            _check_output(tensor, output, count, signature)
        return dict(zip(self._outputs, outputs, strict=True))


class OnnxSession(LocalSession):
    """A session whose weights were first tried in another process: see probe.py."""

    def __init__(self, weights: bytes, *, signatures: Sequence[Signature], threads: int) -> None:
        sizes = frozenset(
            side
            for signature in signatures
            for shape in signature.input_shapes
            for side in shape
            if side > MAX_CHANNELS
        )
        try_out("onnx", weights, [asdict(each) for each in signatures], sizes=sizes)
        super().__init__(weights, signatures=signatures, threads=threads)


def _bind(
    session: onnxruntime.InferenceSession, signature: Signature
) -> tuple[dict[str, str], dict[str, str]]:
    """The names of the graph's inputs and outputs by the names of the signature."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if signature.named:
        _check_names(inputs, outputs, signature)
        return (
            {tensor.name: tensor.name for tensor in signature.inputs},
            {tensor.name: tensor.name for tensor in signature.outputs},
        )
    (taken,), (returned,) = signature.inputs, signature.outputs
    if len(inputs) != 1 or inputs[0].type != DTYPES[taken.dtype]:
        raise ModelUnavailable(f"the weights must take one tensor of {taken.dtype}")
    if not outputs:
        raise ModelUnavailable("the weights must return a tensor")
    return {taken.name: inputs[0].name}, {returned.name: outputs[0].name}


def _check_names(inputs: Sequence[Any], outputs: Sequence[Any], signature: Signature) -> None:
    types = {each.name: each.type for each in inputs}
    expected = [tensor.name for tensor in signature.inputs]
    if types.keys() != set(expected):
        raise ModelUnavailable(
            f"the weights must take exactly the inputs {', '.join(expected)}, as the card says"
        )
    for tensor in signature.inputs:
        if types[tensor.name] != DTYPES[tensor.dtype]:
            raise ModelUnavailable(f"the weights must take {tensor.dtype} as {tensor.name!r}")
    returned = {each.name for each in outputs}
    for tensor in signature.outputs:
        if tensor.name not in returned:
            raise ModelUnavailable(
                f"the weights must return a tensor {tensor.name!r}, as the card says"
            )


def _check_output(tensor: Tensor, output: object, count: int, signature: Signature) -> None:
    if not isinstance(output, np.ndarray):
        raise ModelUnavailable("the weights must answer with a tensor")
    expected = (count, *tensor.shape)
    if output.shape != expected or output.dtype != tensor.dtype:
        raise ModelUnavailable(
            f"the weights answer {count} items with {output.dtype} of shape "
            f"{output.shape}{_as(tensor, signature)}, expected {tensor.dtype} of {expected}, as "
            "the card says"
        )
    if not np.isfinite(output).all():
        raise ModelUnavailable(f"the weights answer with NaN or infinity{_as(tensor, signature)}")


def _as(tensor: Tensor, signature: Signature) -> str:
    return f" as {tensor.name!r}" if signature.named else ""


def _flat_and_noisy(tensor: Tensor, random: np.random.Generator) -> NDArray[Any]:
    """Two items: zeros, and noise of bytes, of values from 0 to 1, or of 0 and 1."""
    shape = (1, *tensor.shape)
    if tensor.dtype == "uint8":
        noise: NDArray[Any] = random.integers(0, 256, shape, np.uint8)
    elif tensor.dtype == "float32":
        noise = random.random(shape, np.float32)
    else:
        noise = random.integers(0, 2, shape, np.int64)
    return np.concatenate([np.zeros_like(noise), noise])


@contextmanager
def _terminated_at(deadline: Deadline, options: onnxruntime.RunOptions) -> Iterator[None]:
    """Make ONNX Runtime stop at the deadline, between two operators of the graph."""
    if deadline.left() == math.inf:
        yield
        return
    timer = threading.Timer(max(0.0, deadline.left()), setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def with_model_name(model: str) -> Iterator[None]:
    """Put the name of the model in front of the message of a ModelUnavailable."""
    try:
        yield
    except ModelUnavailable as error:
        raise ModelUnavailable(f"model {model!r}: {error}") from error


def _takes(declared: Sequence[object], shape: Shape) -> bool:
    """Whether a graph that declares these sides takes items of this shape. A side that is a word or
    None takes any length."""
    return len(declared) == len(shape) and all(
        not isinstance(size, int) or size == side
        for size, side in zip(declared, shape, strict=True)
    )


def _refusal(said: str, otherwise: str) -> str:
    return next((ours for theirs, ours in _REFUSALS if theirs in said), otherwise)

"""Runs ONNX graphs with ONNX Runtime and limits the threads, memory, batch size and time."""

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
from app.vision.probe import probe_weights
from app.vision.tensors import DTYPES, Shape, Signature, Tensor

Arrays = Mapping[str, NDArray[Any]]

# Limits the memory for images with many faces. Larger inputs are split into several batches.
MAX_BATCH = 256
# A dimension of at most this size counts channels. A larger dimension counts pixels.
MAX_CHANNELS = 3

# ONNX Runtime's messages may contain paths. A message that contains the first text is replaced by
# the second.
DEFAULT_PROBLEM = "are not an ONNX graph that can run"
_PROBLEMS = (
    ("alloc", "take more memory than is allowed"),
    ("External data", "use external data files: export the model as a single file"),
    ("No Op registered", "use an operator that this ONNX Runtime does not have"),
    ("is not a registered function/op", "use an operator that this ONNX Runtime does not have"),
    ("opset", "need a newer ONNX Runtime"),
    ("IR version", "need a newer ONNX Runtime"),
    ("protobuf parsing failed", "are not an ONNX file, or the file is damaged or truncated"),
    ("No graph was found", "are not an ONNX file, or the file is damaged or truncated"),
)


class Session(Protocol):
    """The part of a session that models use."""

    def run(self, inputs: Arrays, deadline: Deadline) -> dict[str, NDArray[Any]]: ...


class LocalSession:
    """A loaded ONNX graph. Thread-safe: ONNX Runtime allows concurrent `run` calls on one session.

    Create it after a fork, because a fork does not copy its threads. `signatures` are the inputs
    and outputs that the weights must support; they differ only in the shapes. Raises
    ModelUnavailable if the weights are not an ONNX graph with these tensors, or if the graph
    returns NaN or infinity.
    """

    def __init__(self, weights: bytes, *, signatures: Sequence[Signature], threads: int) -> None:
        self._signatures = {each.input_shapes: each for each in signatures}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # ONNX Runtime raises exceptions for errors. Its log lines would contain file paths.
        options.log_severity_level = 4
        # An arena never shrinks: it would keep the memory of the largest batch.
        options.enable_cpu_mem_arena = False
        # Disallow external data files. By default, the runtime reads tensors from any file below
        # the working directory that the graph names.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", "/dev/null"
        )
        try:
            self._session = onnxruntime.InferenceSession(
                weights, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's exceptions have no other common base class
            problem = _problem(str(error), DEFAULT_PROBLEM)
            raise ModelUnavailable(f"the weights {problem}") from error
        # From the names in the signature to the names in the graph.
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
        """Run a constant and a noisy item in one batch. A constant item can reveal divisions by
        zero."""
        generator = np.random.default_rng(0)
        self.run({tensor.name: _probe_items(tensor, generator) for tensor in signature.inputs})

    def run(self, inputs: Arrays, deadline: Deadline = NEVER) -> dict[str, NDArray[Any]]:
        """Run the graph on n items (n at least 1). `inputs` and the returned outputs are arrays
        (n, …) by name.

        Raises DeadlineExceeded soon after the deadline, and ModelUnavailable if the graph fails on
        these items, returns an unexpected shape or dtype, or returns NaN or infinity.
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
        except Exception as error:  # the runtime's exceptions have no other common base class
            deadline.check()
            shapes_text = " and ".join(map(str, shapes))
            default = f"cannot take a batch of {count} items of shape {shapes_text}"
            raise ModelUnavailable(f"the weights {_problem(str(error), default)}") from error
        for tensor, output in zip(signature.outputs, outputs, strict=True):
            _check_output(tensor, output, count, signature)
        return dict(zip(self._outputs, outputs, strict=True))


class OnnxSession(LocalSession):
    """A session that first runs the weights in another process: see probe.py."""

    def __init__(self, weights: bytes, *, signatures: Sequence[Signature], threads: int) -> None:
        sizes = frozenset(
            side
            for signature in signatures
            for shape in signature.input_shapes
            for side in shape
            if side > MAX_CHANNELS
        )
        probe_weights("onnx", weights, [asdict(each) for each in signatures], sizes=sizes)
        super().__init__(weights, signatures=signatures, threads=threads)


def _bind(
    session: onnxruntime.InferenceSession, signature: Signature
) -> tuple[dict[str, str], dict[str, str]]:
    """Map the names of the signature's inputs and outputs to the names in the graph. Raises
    ModelUnavailable."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if signature.named:
        _check_names(inputs, outputs, signature)
        return (
            {tensor.name: tensor.name for tensor in signature.inputs},
            {tensor.name: tensor.name for tensor in signature.outputs},
        )
    (input_tensor,), (output_tensor,) = signature.inputs, signature.outputs
    if len(inputs) != 1 or inputs[0].type != DTYPES[input_tensor.dtype]:
        raise ModelUnavailable(f"the weights must take one tensor of {input_tensor.dtype}")
    if not outputs:
        raise ModelUnavailable("the weights must return a tensor")
    return {input_tensor.name: inputs[0].name}, {output_tensor.name: outputs[0].name}


def _check_names(inputs: Sequence[Any], outputs: Sequence[Any], signature: Signature) -> None:
    types = {each.name: each.type for each in inputs}
    expected = [tensor.name for tensor in signature.inputs]
    if types.keys() != set(expected):
        raise ModelUnavailable(
            f"the weights must take exactly the inputs of the card: {', '.join(expected)}"
        )
    for tensor in signature.inputs:
        if types[tensor.name] != DTYPES[tensor.dtype]:
            raise ModelUnavailable(f"the weights must take {tensor.dtype} as {tensor.name!r}")
    returned = {each.name for each in outputs}
    for tensor in signature.outputs:
        if tensor.name not in returned:
            raise ModelUnavailable(
                f"the weights must return a tensor {tensor.name!r}, as the card requires"
            )


def _check_output(tensor: Tensor, output: object, count: int, signature: Signature) -> None:
    if not isinstance(output, np.ndarray):
        raise ModelUnavailable("the weights must return a tensor")
    expected = (count, *tensor.shape)
    if output.shape != expected or output.dtype != tensor.dtype:
        raise ModelUnavailable(
            f"the weights return {output.dtype} of shape {output.shape}{_as(tensor, signature)} "
            f"for {count} items; the card requires {tensor.dtype} of shape {expected}"
        )
    if not np.isfinite(output).all():
        raise ModelUnavailable(f"the weights return NaN or infinity{_as(tensor, signature)}")


def _as(tensor: Tensor, signature: Signature) -> str:
    return f" as {tensor.name!r}" if signature.named else ""


def _probe_items(tensor: Tensor, generator: np.random.Generator) -> NDArray[Any]:
    """Return two items: zeros, and noise (bytes, floats in [0, 1), or the integers 0 and 1)."""
    shape = (1, *tensor.shape)
    if tensor.dtype == "uint8":
        noise: NDArray[Any] = generator.integers(0, 256, shape, np.uint8)
    elif tensor.dtype == "float32":
        noise = generator.uniform(size=shape).astype(np.float32)
    else:
        noise = generator.integers(0, 2, shape, np.int64)
    return np.concatenate([np.zeros_like(noise), noise])


@contextmanager
def _terminated_at(deadline: Deadline, options: onnxruntime.RunOptions) -> Iterator[None]:
    """Stop ONNX Runtime at the deadline. It stops between two operators of the graph."""
    if deadline.remaining() == math.inf:
        yield
        return
    timer = threading.Timer(max(0.0, deadline.remaining()), setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def with_model_name(model: str) -> Iterator[None]:
    """Prefix the message of a ModelUnavailable error with the name of the model."""
    try:
        yield
    except ModelUnavailable as error:
        raise ModelUnavailable(f"model {model!r}: {error}") from error


def _takes(declared: Sequence[object], shape: Shape) -> bool:
    """Return whether a graph with these declared sides takes items of this shape. A dynamic side is
    a string or None and takes any length."""
    return len(declared) == len(shape) and all(
        not isinstance(size, int) or size == side
        for size, side in zip(declared, shape, strict=True)
    )


def _problem(message: str, default: str) -> str:
    return next((problem for text, problem in _PROBLEMS if text in message), default)

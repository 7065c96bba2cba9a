"""The ONNX Runtime session: the only place that knows threads, memory and batches."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import ModelUnavailable
from app.vision.probe import try_out

Shape = tuple[int, ...]

# All faces of a picture are one batch, up to this many: an operator may allow pictures with more,
# and memory must stay bounded then too.
MAX_BATCH = 256
MOST_CHANNELS = 3  # of an item; its other sides are pixels

# What the runtime says of a graph it refuses (its own words may hold paths), and what we say.
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


class LocalSession:
    """One set of weights, ready to run. Make it after the fork: its threads do not survive one.

    `shapes` says of each shape that an item of a batch may have (uint8) which shape its answer has
    (float32). Thread-safe: ONNX Runtime allows concurrent `run` calls on one session.
    Raises ModelUnavailable when the weights are no ONNX graph of these shapes, or answer anything
    but finite numbers.
    """

    def __init__(self, weights: bytes, *, shapes: Mapping[Shape, Shape], threads: int) -> None:
        self._shapes = dict(shapes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Errors come as exceptions; what the runtime would print besides holds file paths.
        options.log_severity_level = 4
        # An arena only grows: a crowd of faces once would be paid for ever after.
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
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(uint8)":
            raise ModelUnavailable("the weights must take one tensor of uint8")
        for shape in shapes:
            if not _takes(inputs[0].shape[1:], shape):
                raise ModelUnavailable(f"the weights must take items of shape {shape}")
        self._input = inputs[0].name
        for shape in shapes:
            self._probe(shape)

    def _probe(self, shape: Shape) -> None:
        """Run a flat and a noisy item in one batch: flat ones find divisions by zero."""
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        self.run(np.stack([np.zeros_like(noise), noise]))

    def run(self, items: NDArray[np.uint8], deadline: Deadline = NEVER) -> NDArray[np.float32]:
        """Answers (n, …) float32 for `items` (n, …) uint8, n at least 1.

        Raises DeadlineExceeded soon after the deadline, and ModelUnavailable when the graph fails
        on these items or answers with another shape than expected, NaN or infinity.
        """
        chunks = [
            self._run_batch(items[start : start + MAX_BATCH], deadline)
            for start in range(0, len(items), MAX_BATCH)
        ]
        return np.concatenate(chunks)

    def _run_batch(self, batch: NDArray[np.uint8], deadline: Deadline) -> NDArray[np.float32]:
        shape = batch.shape[1:]
        expected = (len(batch), *self._shapes[shape])
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        deadline.check()
        try:
            with _terminated_at(deadline, options):
                answer = self._session.run(None, {self._input: batch}, options)[0]
        except Exception as error:  # see above
            deadline.check()
            refusal = f"cannot take a batch of {len(batch)} items of shape {shape}"
            raise ModelUnavailable(f"the weights {_refusal(str(error), refusal)}") from error
        if not isinstance(answer, np.ndarray):
            raise ModelUnavailable("the weights must answer with a tensor")
        if answer.shape != expected or answer.dtype != np.float32:
            raise ModelUnavailable(
                f"the weights answer {len(batch)} items with {answer.dtype} of shape "
                f"{answer.shape}, expected float32 of {expected}, as the card says"
            )
        if not np.isfinite(answer).all():
            raise ModelUnavailable("the weights answer with NaN or infinity")
        return answer


class OnnxSession(LocalSession):
    """A session whose weights were first tried in another process: see probe.py."""

    def __init__(self, weights: bytes, *, shapes: Mapping[Shape, Shape], threads: int) -> None:
        sizes = frozenset(side for shape in shapes for side in shape if side > MOST_CHANNELS)
        try_out("onnx", weights, [*shapes.items()], sizes=sizes)
        super().__init__(weights, shapes=shapes, threads=threads)


@contextmanager
def _terminated_at(deadline: Deadline, options: onnxruntime.RunOptions) -> Iterator[None]:
    """Make ONNX Runtime stop at the deadline, between two operators of the graph."""
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
def naming(model: str) -> Iterator[None]:
    """Put the name of the model in front of the message of a ModelUnavailable."""
    try:
        yield
    except ModelUnavailable as error:
        raise ModelUnavailable(f"model {model!r}: {error}") from error


def _takes(declared: Sequence[object], shape: Shape) -> bool:
    """A graph names a side by a word, or not at all, where it takes any."""
    return len(declared) == len(shape) and all(
        not isinstance(size, int) or size == side
        for size, side in zip(declared, shape, strict=True)
    )


def _refusal(said: str, otherwise: str) -> str:
    return next((ours for theirs, ours in _REFUSALS if theirs in said), otherwise)

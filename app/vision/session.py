"""The ONNX Runtime session: the only place that knows threads, memory and batches."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from app.errors import ModelUnavailable

# All faces of a picture are one batch, up to this many: an operator may allow pictures with more,
# and memory must stay bounded then too.
MAX_BATCH = 256


class OnnxSession:
    """One set of weights, ready to run. Make it after the fork: its threads do not survive one.

    Thread-safe: ONNX Runtime allows concurrent `run` calls on one session.
    Raises ModelUnavailable when the weights are no ONNX graph of the expected shapes.
    """

    def __init__(self, weights: bytes, *, input_size: int, outputs: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Errors come as exceptions; what the runtime would print besides holds file paths.
        options.log_severity_level = 4
        # An arena only grows: a crowd of faces once would be paid for ever after.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                weights, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own exceptions share no other base
            raise ModelUnavailable("the weights are not a graph that can be run") from error
        inputs = self._session.get_inputs()
        expected = [1, input_size, input_size]
        if len(inputs) != 1 or inputs[0].type != "tensor(uint8)" or inputs[0].shape[1:] != expected:
            raise ModelUnavailable(f"the weights must take uint8 crops of shape (n, {expected})")
        self._input = inputs[0].name
        probe = self.run(np.zeros((1, input_size, input_size), np.uint8))
        if probe.shape != (1, outputs) or not np.isfinite(probe).all():
            raise ModelUnavailable(
                f"the weights answer shape {probe.shape} for one crop, expected (1, {outputs})"
            )

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (n, classes) float32 for `crops` (n, size, size) uint8 grey, n at least 1."""
        batches = crops[:, np.newaxis]
        chunks = [
            self._session.run(None, {self._input: batches[start : start + MAX_BATCH]})[0]
            for start in range(0, len(batches), MAX_BATCH)
        ]
        return np.concatenate(chunks)

"""The process that probe.py starts. It reads weights from standard input and runs them once.

    python -m app.vision.probe_process RUNTIME ARGUMENTS LIMITS < weights

ARGUMENTS and LIMITS are JSON. The output is {"problem": null}, or {"problem": "message"}.
"""

import json
import resource
import sys
from typing import Any

from app.errors import ModelUnavailable


def main(runtime: str, arguments: str, limits: str) -> None:
    _limit(**json.loads(limits))
    weights = sys.stdin.buffer.read()
    problem = None
    try:
        {"onnx": _run_onnx, "yunet": _run_yunet}[runtime](weights, json.loads(arguments))
    except ModelUnavailable as error:
        problem = str(error)
    except MemoryError:
        problem = "the weights take more memory than is allowed"
    json.dump({"problem": problem}, sys.stdout)


def _limit(*, cpu_seconds: int, memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The hard limit kills a process that ignores the signal of the soft limit.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _run_onnx(weights: bytes, signatures: Any) -> None:
    """Load and run a graph. `signatures` are its signatures as dictionaries."""
    from app.vision.session import LocalSession  # noqa: PLC0415 - slow to import
    from app.vision.tensors import Signature, Tensor  # noqa: PLC0415

    def tensors(documents: Any) -> tuple[Tensor, ...]:
        return tuple(Tensor(each["name"], each["dtype"], (*each["shape"],)) for each in documents)

    LocalSession(
        weights,
        signatures=[
            Signature(tensors(each["inputs"]), tensors(each["outputs"]), each["named"])
            for each in signatures
        ],
        threads=1,
    )


def _run_yunet(weights: bytes, side: Any) -> None:
    from app.vision.detectors.yunet import YuNet  # noqa: PLC0415 - slow to import

    YuNet(weights, side)


if __name__ == "__main__":
    main(*sys.argv[1:])

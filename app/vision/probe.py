"""Runs weights in a separate process before the service loads them.

A graph can crash the process that runs it, run for ever or take all memory. The trial process has
limits on time and memory, and its failure does not affect the service. The verdict is remembered by
checksum, so each process of the service tries the same weights once. The weights of this project
need no trial at the sizes that they were made for.
"""

import hashlib
import json
import signal
import subprocess  # nosec B404 - a fixed command without a shell
import sys
import threading
from pathlib import Path

from app.errors import ModelUnavailable

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "app.vision.probe_process")
CPU_SECONDS = 10
# Enough for a busy machine, and less than gunicorn's 30 seconds for a worker to start.
WALL_SECONDS = 25
MEMORY_BYTES = 4_000_000_000
MOST_VERDICTS = 1_000
# SHA-256 of the weights in models/, and the sides in pixels at which they run. A test checks both.
OWN_WEIGHTS: dict[str, tuple[int, ...]] = {
    "3d29305f50a4d34f057f988d0d6f8b4c3c4a2491667cc48aa021e6689c8224d0": (48,),  # custom_net_5
    "3cf2302a867a6a71c25d159a233590412f74300b144d8d97d17e37142a98b1ee": (48,),  # custom_net_5_int8
    "29b29114409a3b9819fe0c4f5b984f876dab581471cdd38e8cb85ac4006ebad1": (48,),  # custom_net_8
    "4a5d62fe5a51fef1cc1a7ac5e5c4cc0c0142b4fe1f38fc58ab8778d7661602b2": (48,),  # custom_net_8_int8
    "2b66c843f9addc1181e36d6b5973d875c145b858a7976d19703bc4cc2b2f0ce2": (32,),  # haar
    "5ada2f3d4766bc97fa709bac16efee9f2bba0f8aee51037f2921cb4411e2b883": (320, 640),  # single_shot
    "bfc26f85ed1964fc909218cf8aaac3308cfc6baeeff314c80383b3d2d2a5397a": (64,),  # vgg13_5_int8
    "00169af2dcad2199861c32018f875114dd9e70c60046eeec3a1bf2d94cd66cd7": (64,),  # vgg13_8_int8
    "41fb53db3393b0f1af30d71475b8728edd60f7b94160f5f9e53ccd842c0fbcf3": (416,),  # yolov3_tiny
}

# Trials take memory, and many folders may be checked at the same time.
_trials = threading.BoundedSemaphore(2)
_verdicts: dict[tuple[str, str], str | None] = {}


def try_out(runtime: str, weights: bytes, arguments: object, *, sizes: frozenset[int]) -> None:
    """Raise ModelUnavailable if `weights` do not run. `runtime` and `arguments` say how to run
    them: see probe_process.py. `sizes` are the sides of their square inputs in pixels."""
    digest = hashlib.sha256(weights).hexdigest()
    if sizes.issubset(OWN_WEIGHTS.get(digest, ())):
        return
    text = json.dumps(arguments)
    key = digest, f"{runtime} {text}"
    if key not in _verdicts:
        if len(_verdicts) >= MOST_VERDICTS:
            _verdicts.clear()
        with _trials:
            _verdicts[key] = _run(runtime, text, weights)
    if problem := _verdicts[key]:
        raise ModelUnavailable(problem)


def _run(runtime: str, arguments: str, weights: bytes) -> str | None:
    """What is wrong with the weights, or None."""
    limits = json.dumps({"cpu_seconds": CPU_SECONDS, "memory_bytes": MEMORY_BYTES})
    # The environment of the service holds secrets, so it is not passed on. NumPy's threads would
    # reserve memory and are not needed.
    environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    try:
        trial = subprocess.run(  # noqa: S603  # nosec B603
            [*COMMAND, runtime, arguments, limits],
            input=weights,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WALL_SECONDS,
            env=environment,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the weights do not load and answer in time"
    if trial.returncode == -signal.SIGXCPU:
        return f"the weights do not load and answer within {CPU_SECONDS} seconds of CPU time"
    if trial.returncode != 0:
        return "the weights crash the process that runs them, or take more memory than is allowed"
    try:
        problem = json.loads(trial.stdout)["problem"]
    except (ValueError, KeyError, TypeError):
        return "the weights end the process that runs them"
    return None if problem is None else str(problem)

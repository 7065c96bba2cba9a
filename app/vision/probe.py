"""Runs weights in a separate process before the service loads them.

A graph can crash the process, run forever or use all memory. The probe process has limits on time
and memory, and its failure does not affect the service. The result is cached by checksum, so each
process of the service probes the same weights once. KNOWN_WEIGHTS lists the checksums of this
project's weights with their input sizes. At these sizes, the weights are not probed.
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
# Sufficient on a busy machine, and less than the 30 seconds that gunicorn gives a worker to start.
WALL_SECONDS = 25
MEMORY_BYTES = 4_000_000_000
MAX_RESULTS = 1_000  # size of the cache
# SHA-256 of the weights in models/, and their input sizes in pixels. A test checks both.
KNOWN_WEIGHTS: dict[str, tuple[int, ...]] = {
    "4eecb8d40cd97776d4fdea2f97a31eab2cc1f72b51a13ea3b823b588fca67123": (48,),  # custom_net_5
    "c9b865ab24b0b38cdb4f45f0ceac1f589d59c2bb945280cd52a0db8aae37a1c3": (48,),  # custom_net_5_int8
    "4fc5cd6a55ec819a48fa196d84cbc93f622210f62e5d60d4f2202b8dd73e79c0": (48,),  # custom_net_8
    "9994200a4fa402acd12c68365966c6f7a70e7fe8c7eca5ca6dca2a56a7d42e8b": (48,),  # custom_net_8_int8
    "2b66c843f9addc1181e36d6b5973d875c145b858a7976d19703bc4cc2b2f0ce2": (32,),  # haar
    "5ada2f3d4766bc97fa709bac16efee9f2bba0f8aee51037f2921cb4411e2b883": (320, 640),  # single_shot
    "bfc26f85ed1964fc909218cf8aaac3308cfc6baeeff314c80383b3d2d2a5397a": (64,),  # vgg13_5_int8
    "00169af2dcad2199861c32018f875114dd9e70c60046eeec3a1bf2d94cd66cd7": (64,),  # vgg13_8_int8
    "41fb53db3393b0f1af30d71475b8728edd60f7b94160f5f9e53ccd842c0fbcf3": (416,),  # yolov3_tiny
}

# Limits the memory of probe processes when many folders are checked at the same time.
_probes = threading.BoundedSemaphore(2)
_results: dict[tuple[str, str], str | None] = {}


def probe_weights(
    runtime: str, weights: bytes, arguments: object, *, sizes: frozenset[int]
) -> None:
    """Run `weights` once in another process. Raises ModelUnavailable if they do not run.

    `runtime` and `arguments` are passed to the probe process: see probe_process.py. `sizes` are the
    sides of the square inputs in pixels.
    """
    digest = hashlib.sha256(weights).hexdigest()
    if sizes.issubset(KNOWN_WEIGHTS.get(digest, ())):
        return
    text = json.dumps(arguments)
    key = digest, f"{runtime} {text}"
    if key not in _results:
        if len(_results) >= MAX_RESULTS:
            _results.clear()
        with _probes:
            _results[key] = _run(runtime, text, weights)
    if problem := _results[key]:
        raise ModelUnavailable(problem)


def _run(runtime: str, arguments: str, weights: bytes) -> str | None:
    """Return the problem of the weights, or None."""
    limits = json.dumps({"cpu_seconds": CPU_SECONDS, "memory_bytes": MEMORY_BYTES})
    # The environment of the service contains secrets, so it is not passed on. NumPy's threads are
    # not needed and would reserve memory.
    environment = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    try:
        completed = subprocess.run(  # noqa: S603  # nosec B603
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
        return f"loading and running the weights takes more than {WALL_SECONDS} seconds"
    if completed.returncode == -signal.SIGXCPU:
        return f"loading and running the weights takes more than {CPU_SECONDS} seconds of CPU time"
    if completed.returncode != 0:
        return "the weights crash the process that runs them, or take more memory than is allowed"
    try:
        problem = json.loads(completed.stdout)["problem"]
    except (ValueError, KeyError, TypeError):
        return "the weights terminate the process that runs them"
    return None if problem is None else str(problem)

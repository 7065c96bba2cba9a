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
    "0df7a604c64cc384b20a686477b2d735bcfff10afea2e22087e7180d55f4c18f": (48,),  # custom_net_5
    "8be6af0ae8f0e2ddfb1a76809d64658289e1f899ace7b84810fda034189211f7": (48,),  # custom_net_5_int8
    "2508f00de268bd45422b235d3524859e8a36ab256ce30fce36395c8747369b55": (48,),  # custom_net_8
    "761e2c82466864edc29b57c240bd5ed6e125c15bfabcdd0f970c82b180324070": (48,),  # custom_net_8_int8
    "98452f3a28f556a287c21e89e57f4f27df362e49b80b2996651036c749ffa065": (32,),  # haar
    "15a083c2e6c4c42b874d2db12810dc6b2e9dbba20a9aeab51431717908e18c17": (320, 640),  # single_shot
    "1aba179b2569a34b4c6fb57558ddedf0f92a097e0d13ce83977ee2aa8cc4dc42": (64,),  # vgg13_5_int8
    "beace0c582aefbb9648703e47c07943b9e623b9a2101a0f7443ef656ccee2d22": (64,),  # vgg13_8_int8
    "c80f7d28d121e31b27cc6658d361afbe51415865950163c6f2a389f25ac43280": (416,),  # yolov3_tiny
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

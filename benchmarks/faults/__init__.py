"""Fault injection: post images during faults, and compare the store with the responses."""

import base64
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.faults.consistency import ConsistencyReport, check_after_retention
from benchmarks.faults.injection import DEFAULT_PAUSES, FAULTS, Pauses, repeat
from benchmarks.faults.load import Outcome, load, watch

IMAGES_KEY = base64.b64encode(bytes(32)).decode()


def run(
    fault: str, posts: int, pauses: Pauses = DEFAULT_PAUSES
) -> tuple[Outcome, ConsistencyReport, float]:
    """Post `posts` images while a fault recurs.

    Return the responses, the report on the store, and the duration in seconds.
    """
    outcome, finished = Outcome(), threading.Event()
    with (
        tempfile.TemporaryDirectory() as name,
        FAULTS[fault](Path(name), finished, pauses) as (service, database, fault_thread),
    ):
        images_dir = Path(name) / "pictures"
        service.variables |= {
            "EMOTION_KEEP_PICTURES": "true",
            "EMOTION_PICTURES_DIR": str(images_dir),
            "EMOTION_PICTURES_KEY": IMAGES_KEY,
        }
        service.start()
        start = time.monotonic()
        health_thread = threading.Thread(
            target=repeat, args=(0.5, lambda: watch(service.url, outcome), finished)
        )
        fault_thread.start()
        health_thread.start()
        try:
            load(service.url, posts, outcome)
        finally:
            finished.set()
            fault_thread.join()
            health_thread.join()
            seconds = time.monotonic() - start
            service.stop()
        return outcome, check_after_retention(service, database, outcome, images_dir), seconds

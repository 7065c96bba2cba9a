"""Posts images while things break, and compares what is stored with what clients were told."""

import base64
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.faults.breaking import FAULTS, USUAL, Pauses, every
from benchmarks.faults.load import Outcome, load, watch
from benchmarks.faults.verdict import Verdict, judge_and_clean

PICTURES_KEY = base64.b64encode(bytes(32)).decode()


def run(fault: str, posts: int, pauses: Pauses = USUAL) -> tuple[Outcome, Verdict, float]:
    """Break the service while `posts` images are posted.

    Return what clients saw, what is stored, and the seconds.
    """
    outcome, over = Outcome(), threading.Event()
    with (
        tempfile.TemporaryDirectory() as name,
        FAULTS[fault](Path(name), over, pauses) as (service, database, breaking),
    ):
        pictures = Path(name) / "pictures"
        service.variables |= {
            "EMOTION_KEEP_PICTURES": "true",
            "EMOTION_PICTURES_DIR": str(pictures),
            "EMOTION_PICTURES_KEY": PICTURES_KEY,
        }
        service.start()
        began = time.monotonic()
        watching = threading.Thread(
            target=every, args=(0.5, lambda: watch(service.url, outcome), over)
        )
        breaking.start()
        watching.start()
        try:
            load(service.url, posts, outcome)
        finally:
            over.set()
            breaking.join()
            watching.join()
            seconds = time.monotonic() - began
            service.stop()
        return outcome, judge_and_clean(service, database, outcome, pictures), seconds

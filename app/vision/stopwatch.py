"""Measures the duration of the stages of a request."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """`with stopwatch("detect"): …` stores the wall time of the block in `timings_ms`."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings_ms[stage] = round(1000 * (time.perf_counter() - start), 3)

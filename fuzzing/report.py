"""Statistics of a fuzzing run."""

import heapq
import time
from collections import Counter
from collections.abc import Callable

from testbed.processes import resident_mb


class Finding(Exception):
    """A defect, with the input that causes it."""


class Report:
    """Counts the results of `count` inputs, and records times and memory.

    `memory` returns megabytes. Growth is measured from the middle to the end of a run, because
    memory grows at first: caches fill, and the allocator retains the memory of the largest input.
    """

    def __init__(self, name: str, count: int, memory: Callable[[], float] = resident_mb) -> None:
        self.name = name
        self.count = count
        self.results: Counter[str] = Counter()
        self._memory = memory
        self._slowest: list[tuple[float, int, str]] = []
        self._start = time.monotonic()
        self.memory_mb = [memory()]

    def note(self, index: int, result: str, seconds: float, input_: str) -> None:
        """Record the result of the input with this number, counted from 0."""
        self.results[result] += 1
        self._slowest = heapq.nlargest(3, [*self._slowest, (seconds, index, input_)])
        if sum(self.results.values()) in (max(1, self.count // 2), self.count):
            self.memory_mb.append(self._memory())

    @property
    def slowest_seconds(self) -> float:
        return self._slowest[0][0]

    @property
    def growth(self) -> float:
        """The growth of memory from the middle to the end, as a share."""
        return self.memory_mb[-1] / self.memory_mb[1] - 1

    def __str__(self) -> str:
        lines = [f"{self.name}: {sum(self.results.values()):,} inputs in "
                 f"{time.monotonic() - self._start:.0f} s"]  # fmt: skip
        lines += [f"  {number:>9,}  {result}" for result, number in self.results.most_common()]
        memory = ", ".join(f"{megabytes:.1f}" for megabytes in self.memory_mb)
        lines.append(f"  MB at the start, in the middle, at the end: {memory}")
        for seconds, index, input_ in self._slowest:
            lines.append(f"  slowest: {1000 * seconds:.1f} ms, number {index}, {input_}")
        return "\n".join(lines)

"""What a run has seen, and what it prints."""

import heapq
import time
from collections import Counter
from collections.abc import Callable

from testbed.processes import resident_mb


class Finding(Exception):
    """Something that must not happen, and the input that makes it happen."""


class Report:
    """Counts what comes of `count` inputs, times them, and looks at memory as they pass.

    `memory` gives megabytes. Memory is compared between the middle and the end, since it grows at
    first: caches fill, and the allocator keeps what the largest input took.
    """

    def __init__(self, what: str, count: int, memory: Callable[[], float] = resident_mb) -> None:
        self.what = what
        self.count = count
        self.came: Counter[str] = Counter()
        self._memory = memory
        self._slowest: list[tuple[float, int, str]] = []
        self._began = time.monotonic()
        self.memory_mb = [memory()]

    def note(self, index: int, came: str, seconds: float, input_: str) -> None:
        """`index` counts from 0."""
        self.came[came] += 1
        self._slowest = heapq.nlargest(3, [*self._slowest, (seconds, index, input_)])
        if sum(self.came.values()) in (max(1, self.count // 2), self.count):
            self.memory_mb.append(self._memory())

    @property
    def slowest_seconds(self) -> float:
        return self._slowest[0][0]

    @property
    def growth(self) -> float:
        """Of memory from the middle to the end, as a share."""
        return self.memory_mb[-1] / self.memory_mb[1] - 1

    def __str__(self) -> str:
        lines = [f"{self.what}: {sum(self.came.values()):,} inputs in "
                 f"{time.monotonic() - self._began:.0f} s"]  # fmt: skip
        lines += [f"  {number:>9,}  {came}" for came, number in self.came.most_common()]
        memory = ", ".join(f"{megabytes:.1f}" for megabytes in self.memory_mb)
        lines.append(f"  MB at the start, in the middle, at the end: {memory}")
        for seconds, index, input_ in self._slowest:
            lines.append(f"  slowest: {1000 * seconds:.1f} ms, number {index}, {input_}")
        return "\n".join(lines)

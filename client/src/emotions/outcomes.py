"""Sends many images at a time, and returns their results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from emotions.errors import EmotionError
from emotions.types import Analysis

Source = TypeVar("Source")
AHEAD = 2  # images that are taken for each worker before the first result is taken


@dataclass(frozen=True)
class Outcome(Generic[Source]):
    """The result of one image of many: its analysis, or the error."""

    source: Source
    analysis: Analysis | None = None
    error: EmotionError | None = None


def outcomes(
    analyse: Callable[[Source], Analysis], sources: Iterable[Source], *, workers: int
) -> Generator[Outcome[Source], None, None]:
    """Yield the outcome of `analyse` for each source, in their order."""

    def one(source: Source) -> Outcome[Source]:
        try:
            return Outcome(source, analysis=analyse(source))
        except EmotionError as error:
            return Outcome(source, error=error)

    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Outcome[Source]]] = deque()
    try:
        for source in sources:
            waiting.append(pool.submit(one, source))
            if len(waiting) >= AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

"""Sends many images concurrently and returns their results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from emotions.errors import EmotionError
from emotions.types import Analysis

Source = TypeVar("Source")
PREFETCH_PER_WORKER = 2  # images


@dataclass(frozen=True)
class Outcome(Generic[Source]):
    """The result for one of many images: an analysis or an error."""

    source: Source
    analysis: Analysis | None = None
    error: EmotionError | None = None


def outcomes(
    analyse: Callable[[Source], Analysis], sources: Iterable[Source], *, workers: int
) -> Generator[Outcome[Source], None, None]:
    """Yield the outcome of `analyse` for each source, in order. Threads run `analyse`."""

    def outcome_of(source: Source) -> Outcome[Source]:
        try:
            return Outcome(source, analysis=analyse(source))
        except EmotionError as error:
            return Outcome(source, error=error)

    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[Outcome[Source]]] = deque()
    try:
        for source in sources:
            pending.append(pool.submit(outcome_of, source))
            if len(pending) >= PREFETCH_PER_WORKER * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

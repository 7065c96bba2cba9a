"""The use case: bytes in, stored Analysis out."""

from dataclasses import dataclass, replace

from app.store import queries
from app.vision.engine import Engine
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as a client sent it."""

    data: bytes
    file_name: str


def analyse(
    engine: Engine,
    picture: Picture,
    *,
    threshold: float,
    model: str | None = None,
    detector: str | None = None,
    store: bool = True,
) -> Analysis:
    """Find the faces, name their emotions and, unless `store` is false, commit the answer.

    Raises what `Engine.analyse` and `queries.save` raise; then nothing is kept.
    """
    analysis = engine.analyse(
        picture.data,
        file_name=picture.file_name,
        threshold=threshold,
        model=model,
        detector=detector,
    )
    if not store:
        return analysis
    stopwatch = Stopwatch()
    with stopwatch("store"):
        stored = queries.save(analysis)
    return replace(stored, timings_ms={**stored.timings_ms, **stopwatch.timings_ms})

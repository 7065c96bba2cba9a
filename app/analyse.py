"""The use case: bytes in, stored Analysis out."""

from dataclasses import dataclass, replace

from app.store import queries
from app.vision.draw import annotated_picture
from app.vision.engine import Engine
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis, Wanted


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as a client sent it."""

    data: bytes
    file_name: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asks for; the engine's defaults where `pipeline`, `model` or `detector` is
    None."""

    threshold: float
    pipeline: str | None = None
    model: str | None = None
    detector: str | None = None
    wanted: Wanted = Wanted()
    store: bool = True


def analyse(engine: Engine, picture: Picture, options: Options) -> Analysis:
    """Find the faces, name their emotions and, unless told not to store, commit the answer.

    Raises what `Engine.analyse` and `queries.save` raise; then nothing is kept.
    """
    return _keep(_find(engine, picture, options), options)


def analyse_and_draw(
    engine: Engine, picture: Picture, options: Options, *, media_type: str
) -> tuple[Analysis, bytes]:
    """`analyse` and the file of the annotated picture, as image/png or image/jpeg.

    Drawn before it is kept: what cannot be answered (CannotDraw) is not kept either.
    """
    found = _find(engine, picture, options)
    drawn = annotated_picture(picture.data, found, media_type=media_type)
    return _keep(found, options), drawn


def _find(engine: Engine, picture: Picture, options: Options) -> Analysis:
    return engine.analyse(
        picture.data,
        file_name=picture.file_name,
        threshold=options.threshold,
        pipeline=options.pipeline,
        model=options.model,
        detector=options.detector,
        wanted=options.wanted,
    )


def _keep(analysis: Analysis, options: Options) -> Analysis:
    if not options.store:
        return analysis
    stopwatch = Stopwatch()
    with stopwatch("store"):
        stored = queries.save(analysis)
    return replace(stored, timings_ms={**stored.timings_ms, **stopwatch.timings_ms})

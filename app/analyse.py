"""The use case: bytes in, stored Analysis out."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from app.budget import Budget
from app.deadline import NEVER, Deadline
from app.errors import CannotDraw
from app.store import idempotency, queries
from app.store.idempotency import AlreadyStored, IdempotentRequest
from app.vision.draw import annotated_image
from app.vision.engine import Engine
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis, DetectionOptions

T = TypeVar("T")
log = logging.getLogger(__name__)


class Do(Protocol):
    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises: how, where and when it is done."""


def at_once(work: Callable[[], T]) -> T:
    return work()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file as a client sent it; with `retry` it may come again and is kept once."""

    data: bytes
    file_name: str
    retry: IdempotentRequest | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A picture that a client names by URL. It is fetched only if its request is in order and was
    not answered before: what lies there may be another picture by now."""

    url: str
    file_name: str
    fetch: Callable[[str], bytes]
    retry: IdempotentRequest | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What a client asks for; the engine's defaults where `pipeline`, `model` or `detector` is
    None."""

    threshold: float
    pipeline: str | None = None
    model: str | None = None
    detector: str | None = None
    wanted: DetectionOptions = DetectionOptions()
    store: bool = True


def analyse(
    engine: Engine,
    picture: Picture | Link,
    options: Options,
    *,
    do: Do = at_once,
    deadline: Deadline = NEVER,
) -> Analysis:
    """Find the faces, name their emotions and, unless told not to store, commit the answer. `do`
    runs the CPU-heavy work, which stops soon after the deadline.

    Raises what `Link.fetch`, `Engine.analyse`, `queries.save` and `do` raise, and KeyReused; then
    nothing is kept.
    """
    if kept := _kept(picture):
        return kept
    here = _here(engine, picture, options)
    return _keep(do(lambda: _find(engine, here, options, deadline)), here, options)


def analyse_and_draw(
    engine: Engine,
    picture: Picture | Link,
    options: Options,
    *,
    media_type: str,
    drawing: Budget,
    do: Do = at_once,
    deadline: Deadline = NEVER,
) -> tuple[Analysis, bytes]:
    """`analyse` and the file of the annotated image, as image/png or image/jpeg.

    The image is drawn before the analysis is stored, so a request that fails with CannotDraw stores
    nothing. `drawing` limits the pixels that are drawn at a time; an image with more pixels is
    drawn alone, at a smaller size.
    """
    kept = _kept(picture)
    if kept and isinstance(picture, Link):
        raise _no_longer_there()
    here = _here(engine, picture, options)
    found = kept or do(lambda: _find(engine, here, options, deadline))
    with drawing.reserve(found.width * found.height, deadline=deadline):
        drawn = do(
            lambda: annotated_image(
                here.data,
                found,
                media_type=media_type,
                most_pixels=drawing.limit,
                deadline=deadline,
            )
        )
    stored = kept or _keep(found, here, options)
    if isinstance(picture, Link) and options.store and "store" not in stored.timings_ms:
        raise _no_longer_there()  # somebody else was quicker, and may have fetched another picture
    return stored, drawn


def _no_longer_there() -> CannotDraw:
    return CannotDraw(
        "this request was answered before, and the picture, which came by URL, is not kept: ask "
        "for application/json"
    )


def _here(engine: Engine, picture: Picture | Link, options: Options) -> Picture:
    if isinstance(picture, Picture):
        return picture
    # Nobody is asked for a picture for the sake of options that are wrong anyway.
    engine.pipeline(options.pipeline, options.model, options.detector, options.wanted)
    return Picture(picture.fetch(picture.url), picture.file_name, picture.retry)


def _find(engine: Engine, picture: Picture, options: Options, deadline: Deadline) -> Analysis:
    return engine.analyse(
        picture.data,
        file_name=picture.file_name,
        threshold=options.threshold,
        pipeline=options.pipeline,
        model=options.model,
        detector=options.detector,
        wanted=options.wanted,
        deadline=deadline,
    )


def _kept(picture: Picture | Link) -> Analysis | None:
    """The analysis that the same request stored before, unless it was erased. Raises KeyReused."""
    image_id = picture.retry and idempotency.image_id(picture.retry)
    return queries.find(image_id) if image_id else None


def _keep(analysis: Analysis, picture: Picture, options: Options) -> Analysis:
    if not options.store:
        return analysis
    stopwatch = Stopwatch()
    with stopwatch("store"):
        try:
            stored = queries.save(analysis, picture.retry, picture.data)
        except AlreadyStored:
            return _kept(picture) or _keep(analysis, picture, options)
    log.info("image stored", extra={"event": "image_stored", "image_id": stored.id})
    return replace(stored, timings_ms={**stored.timings_ms, **stopwatch.timings_ms})

"""The use case of the service: analyse an image and store the result."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from app.budget import Budget
from app.deadline import NEVER, Deadline
from app.errors import CannotDraw
from app.store import idempotency, queries
from app.store.idempotency import AlreadyStored, IdempotentRequest
from app.vision.draw import annotated_image
from app.vision.engine import Engine
from app.vision.request import AnalysisRequest, AnyImage, ImageData, ImageLink
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis

T = TypeVar("T")
log = logging.getLogger(__name__)


class Run(Protocol):
    def __call__(self, work: Callable[[], T]) -> T:
        """Run `work`, possibly in another thread, and return or raise what it does."""


def run_here(work: Callable[[], T]) -> T:
    """Run `work` in this thread."""
    return work()


def analyse(
    engine: Engine,
    request: AnalysisRequest[AnyImage],
    *,
    idempotent: IdempotentRequest | None = None,
    run: Run = run_here,
    deadline: Deadline = NEVER,
) -> tuple[Analysis, bool]:
    """Analyse an image and, unless `store` is off, commit the result.

    Returns the analysis and whether it was made now. A repetition of the request that `idempotent`
    identifies is not analysed again: it returns the stored analysis and False. `run` runs the
    CPU-heavy work, which stops soon after the deadline.

    Raises what `ImageLink.fetch`, `Engine.analyse`, `queries.save` and `run` raise, and KeyReused.
    Nothing is stored then.
    """
    if stored := _stored(idempotent):
        return stored, False
    fetched = _with_image(engine, request)
    return _committed(run(lambda: engine.analyse(fetched, deadline)), fetched, idempotent)


def analyse_and_draw(
    engine: Engine,
    request: AnalysisRequest[AnyImage],
    *,
    media_type: str,
    drawing: Budget,
    idempotent: IdempotentRequest | None = None,
    run: Run = run_here,
    deadline: Deadline = NEVER,
) -> tuple[Analysis, bool, bytes]:
    """`analyse`, and the file of the annotated image, as image/png or image/jpeg.

    The image is drawn before the analysis is stored, so a request that fails with CannotDraw stores
    nothing. `drawing` limits the pixels that are drawn at a time; an image with more pixels is
    drawn alone, at a smaller size.
    """
    by_link = isinstance(request.image, ImageLink)
    stored = _stored(idempotent)
    if stored and by_link:
        raise _image_not_kept()
    fetched = _with_image(engine, request)
    found = stored or run(lambda: engine.analyse(fetched, deadline))
    with drawing.taken(found.width * found.height, deadline=deadline):
        drawn = run(
            lambda: annotated_image(
                fetched.image.data,
                found,
                media_type=media_type,
                max_output_pixels=drawing.limit,
                deadline=deadline,
            )
        )
    if stored:
        return stored, False, drawn
    analysis, created = _committed(found, fetched, idempotent)
    if by_link and not created:
        # Another request stored its analysis meanwhile, and may have fetched another image.
        raise _image_not_kept()
    return analysis, created, drawn


def _image_not_kept() -> CannotDraw:
    return CannotDraw(
        "this request was answered before, and its image, which came by URL, is not kept: ask for "
        "application/json"
    )


def _with_image(engine: Engine, request: AnalysisRequest[AnyImage]) -> AnalysisRequest[ImageData]:
    """The request with the bytes of its image. Nothing is fetched for options that are wrong."""
    image = request.image
    if isinstance(image, ImageLink):
        engine.pipeline(request.options)
        image = image.fetched()
    return AnalysisRequest(image, request.options, request.frame)


def _stored(idempotent: IdempotentRequest | None) -> Analysis | None:
    """The analysis that the same request stored before, unless it was erased. Raises KeyReused."""
    image_id = idempotent and idempotency.image_id(idempotent)
    return queries.find(image_id) if image_id else None


def _committed(
    analysis: Analysis, request: AnalysisRequest[ImageData], idempotent: IdempotentRequest | None
) -> tuple[Analysis, bool]:
    """The analysis after its commit, and True; or the one that the same request stored meanwhile,
    and False."""
    if not request.options.store:
        return analysis, True
    stopwatch = Stopwatch()
    with stopwatch("store"):
        try:
            saved = queries.save(analysis, idempotent, request.image.data)
        except AlreadyStored:
            stored = _stored(idempotent)
            return (stored, False) if stored else _committed(analysis, request, idempotent)
    log.info("image stored", extra={"event": "image_stored", "image_id": saved.id})
    return replace(saved, timings_ms={**saved.timings_ms, **stopwatch.timings_ms}), True

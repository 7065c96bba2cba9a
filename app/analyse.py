"""Analyse an image and store the result: the main use case of the service."""

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


class Runner(Protocol):
    def __call__(self, work: Callable[[], T]) -> T:
        """Call `work`, possibly in another thread. Return its result or raise its error."""


def run_here(work: Callable[[], T]) -> T:
    """Call `work` in this thread."""
    return work()


def analyse(
    engine: Engine,
    request: AnalysisRequest[AnyImage],
    *,
    idempotent: IdempotentRequest | None = None,
    run: Runner = run_here,
    deadline: Deadline = NEVER,
) -> tuple[Analysis, bool]:
    """Analyse an image and, if `request.options.store` is set, commit the analysis.

    Returns (analysis, created). For a replay of the request that `idempotent` identifies, it
    returns the stored analysis and False. `run` runs the CPU-heavy work, which stops soon after the
    deadline.

    Raises KeyReused and the errors of `ImageLink.fetch`, `Engine.analyse`, `queries.save` and
    `run`. Stores nothing if it raises an error.
    """
    if stored := _stored_analysis(idempotent):
        return stored, False
    fetched = _with_image_data(engine, request)
    return _commit(run(lambda: engine.analyse(fetched, deadline)), fetched, idempotent)


def analyse_and_draw(
    engine: Engine,
    request: AnalysisRequest[AnyImage],
    *,
    media_type: str,
    drawing_budget: Budget,
    idempotent: IdempotentRequest | None = None,
    run: Runner = run_here,
    deadline: Deadline = NEVER,
) -> tuple[Analysis, bool, bytes]:
    """Analyse an image like `analyse`, and draw the annotated image.

    Returns (analysis, created, file of the annotated image). `media_type` is image/png or
    image/jpeg. `drawing_budget` limits the pixels that all requests draw at the same time; an image
    with more pixels than the limit is drawn alone, at a smaller size.

    The image is drawn before the analysis is stored, so a request that fails with CannotDraw stores
    nothing.
    """
    by_url = isinstance(request.image, ImageLink)
    stored = _stored_analysis(idempotent)
    if stored and by_url:
        raise _image_not_stored()
    fetched = _with_image_data(engine, request)
    analysis = stored or run(lambda: engine.analyse(fetched, deadline))
    with drawing_budget.reserve(analysis.width * analysis.height, deadline=deadline):
        annotated = run(
            lambda: annotated_image(
                fetched.image.data,
                analysis,
                media_type=media_type,
                max_output_pixels=drawing_budget.limit,
                deadline=deadline,
            )
        )
    if stored:
        return stored, False, annotated
    committed, created = _commit(analysis, fetched, idempotent)
    if by_url and not created:
        # A concurrent request with the same key committed first. Its image may be different.
        raise _image_not_stored()
    return committed, created, annotated


def _image_not_stored() -> CannotDraw:
    return CannotDraw(
        "this request repeats an earlier request whose image came by URL. The image of such a "
        "request cannot be drawn: send Accept: application/json"
    )


def _with_image_data(
    engine: Engine, request: AnalysisRequest[AnyImage]
) -> AnalysisRequest[ImageData]:
    """Return the request with the image data. Checks the options before it fetches an image."""
    image = request.image
    if isinstance(image, ImageLink):
        engine.pipeline(request.options)
        image = image.fetched()
    return AnalysisRequest(image, request.options, request.frame)


def _stored_analysis(idempotent: IdempotentRequest | None) -> Analysis | None:
    """Return the analysis that the same request stored before; None if there is none or it was
    erased. Raises KeyReused."""
    image_id = idempotent and idempotency.image_id(idempotent)
    return queries.find(image_id) if image_id else None


def _commit(
    analysis: Analysis, request: AnalysisRequest[ImageData], idempotent: IdempotentRequest | None
) -> tuple[Analysis, bool]:
    """Commit the analysis and return it and True. If a concurrent request with the same key was
    faster, return the analysis of that request and False."""
    if not request.options.store:
        return analysis, True
    stopwatch = Stopwatch()
    with stopwatch("store"):
        try:
            saved = queries.save(analysis, idempotent, request.image.data)
        except AlreadyStored:
            stored = _stored_analysis(idempotent)
            # If the stored analysis was erased in the meantime, commit this one.
            return (stored, False) if stored else _commit(analysis, request, idempotent)
    log.info("image stored", extra={"event": "image_stored", "image_id": saved.id})
    return replace(saved, timings_ms={**saved.timings_ms, **stopwatch.timings_ms}), True

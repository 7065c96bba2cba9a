"""The objects that `create_app` has made, for the current request."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g

from app.deadline import Deadline
from app.errors import ImageTooLarge, UnusableUrl
from app.fetch import Fetcher
from app.settings import Settings
from app.store.connections import current_deadline
from app.vision.engine import Engine
from app.work_queue import Budget, WorkQueue

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Any])


def engine() -> Engine:
    return cast(Engine, current_app.extensions["engine"])


def settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])


def work_queue() -> WorkQueue:
    return cast(WorkQueue, current_app.extensions["work_queue"])


def large_bodies() -> Budget:
    """The budget of bytes of large bodies that are parsed at a time: parsing makes copies."""
    return cast(Budget, current_app.extensions["large_bodies"])


def deadline() -> Deadline:
    """The time by which the current request must be answered."""
    return current_deadline()


def with_slot(view: View) -> View:
    """Let a view hold a slot of the work queue, from before its body is parsed. The view raises
    Busy when all slots are taken."""

    @wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        with work_queue().slot():
            return view(*args, **kwargs)

    return cast(View, run)


def run_queued(work: Callable[[], T]) -> T:
    """Run `work` in the work queue; return or raise what it does. Raises TookTooLong."""
    return work_queue().run(work, deadline=deadline())


def reserve_canvas(pixels: int) -> None:
    """Wait until an image of `pixels` pixels may be drawn, and reserve them until the request ends:
    drawing takes many times the memory of the image.

    Raises ImageTooLarge and TookTooLong.
    """
    budget = cast(Budget, current_app.extensions["drawing"])
    if pixels > budget.limit:
        raise ImageTooLarge(
            f"the image has {pixels:,} pixels; an annotated image may have {budget.limit:,}: "
            "ask for application/json"
        )
    g.canvas = budget.take(pixels, deadline=deadline())


def init_current(app: Flask) -> None:
    """Give back at the end of each request what it has reserved."""

    @app.teardown_request
    def give_back(_error: BaseException | None) -> None:
        if taken := g.pop("canvas", 0):
            cast(Budget, app.extensions["drawing"]).give(taken)


def fetch(url: str) -> bytes:
    """Raises what `Fetcher.fetch` raises, and UnusableUrl where fetching is off."""
    fetcher: Fetcher | None = current_app.extensions["fetcher"]
    if fetcher is None:
        raise UnusableUrl(
            "this service fetches nothing by URL: send the picture itself, or have its operator "
            "allow hosts (EMOTION_FETCH_HOSTS)"
        )
    return fetcher.fetch(url)

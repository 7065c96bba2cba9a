"""Typed access to the objects in `current_app.extensions`, which `create_app` creates."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import current_app

from app.budget import Budget
from app.deadline import Deadline
from app.errors import UnusableUrl
from app.fetch import Fetcher
from app.settings import Settings
from app.store.connections import current_deadline
from app.vision.engine import Engine
from app.work_queue import WorkQueue

T = TypeVar("T")
View = TypeVar("View", bound=Callable[..., Any])


def engine() -> Engine:
    return cast(Engine, current_app.extensions["engine"])


def settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])


def work_queue() -> WorkQueue:
    return cast(WorkQueue, current_app.extensions["work_queue"])


def large_body_budget() -> Budget:
    """Return the byte budget of large bodies that are parsed concurrently."""
    return cast(Budget, current_app.extensions["large_body_budget"])


def deadline() -> Deadline:
    """Return the deadline of the current request."""
    return current_deadline()


def with_slot(view: View) -> View:
    """Decorate a view so that it holds a slot of the work queue before its body is parsed.

    The view raises Busy when all slots are taken.
    """

    @wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        with work_queue().slot():
            return view(*args, **kwargs)

    return cast(View, run)


def run_queued(work: Callable[[], T]) -> T:
    """Run `work` in the work queue and return the result.

    Raises the errors of `work`, and DeadlineExceeded.
    """
    return work_queue().run(work, deadline=deadline())


def drawing_budget() -> Budget:
    """Return the pixel budget of concurrent drawing. Drawing needs several bytes per pixel."""
    return cast(Budget, current_app.extensions["drawing_budget"])


def fetch(url: str) -> bytes:
    """Fetch the file at `url`.

    Raises UnusableUrl if fetching is disabled, and the errors of `Fetcher.fetch`.
    """
    fetcher: Fetcher | None = current_app.extensions["fetcher"]
    if fetcher is None:
        raise UnusableUrl(
            "fetching images by URL is disabled: send the image itself, or ask the operator to "
            "allow hosts (EMOTION_FETCH_HOSTS)"
        )
    return fetcher.fetch(url)

"""The objects that `create_app` has made, for the current request."""

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
    """Run `work` in the work queue; return or raise what it does. Raises DeadlineExceeded."""
    return work_queue().run(work, deadline=deadline())


def drawing() -> Budget:
    """The budget of pixels that are drawn at a time: drawing takes many times their memory."""
    return cast(Budget, current_app.extensions["drawing"])


def fetch(url: str) -> bytes:
    """Raises what `Fetcher.fetch` raises, and UnusableUrl where fetching is off."""
    fetcher: Fetcher | None = current_app.extensions["fetcher"]
    if fetcher is None:
        raise UnusableUrl(
            "this service fetches nothing by URL: send the picture itself, or have its operator "
            "allow hosts (EMOTION_FETCH_HOSTS)"
        )
    return fetcher.fetch(url)

"""What `create_app` has wired, for the request at hand."""

from collections.abc import Callable
from typing import TypeVar, cast

from flask import current_app, g

from app.deadline import Deadline
from app.errors import UnusableUrl
from app.fetch import Fetcher
from app.settings import Settings
from app.turns import Turns
from app.vision.engine import Engine

T = TypeVar("T")


def engine() -> Engine:
    return cast(Engine, current_app.extensions["engine"])


def settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])


def turns() -> Turns:
    return cast(Turns, current_app.extensions["turns"])


def deadline() -> Deadline:
    """The time by which the request must be answered."""
    return Deadline(g.began + settings().request_seconds)


def in_turn(work: Callable[[], T]) -> T:
    """What `work` returns or raises, done when it is this request's turn. Raises TookTooLong."""
    return turns().do(work, until=deadline().until)


def fetch(url: str) -> bytes:
    """Raises what `Fetcher.fetch` raises, and UnusableUrl where fetching is off."""
    fetcher: Fetcher | None = current_app.extensions["fetcher"]
    if fetcher is None:
        raise UnusableUrl(
            "this service fetches nothing by URL: send the picture itself, or have its operator "
            "allow hosts (EMOTION_FETCH_HOSTS)"
        )
    return fetcher.fetch(url)

"""What `create_app` has wired, for the request at hand."""

from typing import cast

from flask import current_app

from app.errors import UnusableUrl
from app.fetch import Fetcher
from app.settings import Settings
from app.vision.engine import Engine


def engine() -> Engine:
    return cast(Engine, current_app.extensions["engine"])


def settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])


def fetch(url: str) -> bytes:
    """Raises what `Fetcher.fetch` raises, and UnusableUrl where fetching is off."""
    fetcher: Fetcher | None = current_app.extensions["fetcher"]
    if fetcher is None:
        raise UnusableUrl(
            "this service fetches nothing by URL: send the picture itself, or have its operator "
            "allow hosts (EMOTION_FETCH_HOSTS)"
        )
    return fetcher.fetch(url)

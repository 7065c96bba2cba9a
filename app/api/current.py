"""What `create_app` has wired, for the request at hand."""

from typing import cast

from flask import current_app

from app.settings import Settings
from app.vision.engine import Engine


def engine() -> Engine:
    return cast(Engine, current_app.extensions["engine"])


def settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])

"""Checks the access policy before the workers start."""

import logging
from typing import NamedTuple

from flask import Flask

from app.errors import StoreUnavailable
from app.keys import CREATE_COMMAND
from app.settings import RESOURCES, SettingError, Settings
from app.store import keys
from app.store.database import init_database
from app.store.tables import db


class Notice(NamedTuple):
    """A message for the log. `level` is a level of `logging`."""

    level: int
    text: str


def check_access_policy(settings: Settings) -> Notice:
    """Check who has access to the service, and return a notice about it for the operator.

    Loads no models and leaves no connection open, so that workers can be forked afterwards. Raises
    SettingError if other machines would have access without a key although
    EMOTION_ALLOW_ANONYMOUS is not set, and for an invalid database URL.
    """
    app = Flask("start")
    try:
        init_database(
            app, settings.database_url, connections=1, migrations=RESOURCES / "migrations"
        )
    except ValueError as error:  # its message leaves out the URL, which may contain a password
        raise SettingError(f"EMOTION_DATABASE_URL: {error}") from error
    with app.app_context():
        try:
            any_key = keys.any_exists()
        except StoreUnavailable as error:
            return Notice(
                logging.WARNING,
                f"{error.for_operator or error}; cannot check yet whether an API key exists",
            )
        finally:
            db.engine.dispose()
    if settings.allow_anonymous:
        return Notice(
            logging.WARNING,
            "EMOTION_ALLOW_ANONYMOUS is set: every client that can connect to "
            f"{settings.host} has full access without an API key",
        )
    if any_key:
        return Notice(logging.INFO, "requests need an API key")
    if settings.is_local and settings.proxies:
        return Notice(
            logging.WARNING,
            "no API key exists and EMOTION_PROXIES is set: only public routes are available. "
            f"Create a key: {CREATE_COMMAND}",
        )
    if settings.is_local:
        return Notice(
            logging.WARNING,
            "no API key exists: every client on this machine has full access. Clients of a proxy "
            "or tunnel that the service cannot detect also have full access. "
            f"Create a key: {CREATE_COMMAND}",
        )
    raise SettingError(
        f"HOST={settings.host} accepts other machines and no API key exists. "
        f"Create a key: {CREATE_COMMAND}, or allow requests without a key: "
        "EMOTION_ALLOW_ANONYMOUS=true"
    )

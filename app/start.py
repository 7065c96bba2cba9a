"""Checks the access policy before any worker starts."""

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
    """A line for the log. `level` is one of the levels of `logging`."""

    level: int
    text: str


def check_access_policy(settings: Settings) -> Notice:
    """Return a notice that says who will be let in. Loads no models and leaves no connection open,
    so that workers can be forked afterwards.

    Raises SettingError when clients of other machines would be let in without a key although the
    operator did not allow that, and for a database URL that cannot be used.
    """
    app = Flask("start")
    try:
        init_database(
            app, settings.database_url, connections=1, migrations=RESOURCES / "migrations"
        )
    except ValueError as error:  # the message leaves out the URL, which may hold a password
        raise SettingError(f"EMOTION_DATABASE_URL: {error}") from error
    with app.app_context():
        try:
            any_key = keys.any_made()
        except StoreUnavailable as error:
            return Notice(
                logging.WARNING,
                f"{error.for_operator or error}; whether there are keys is not known yet",
            )
        finally:
            db.engine.dispose()
    if settings.allow_anonymous:
        return Notice(
            logging.WARNING,
            f"EMOTION_ALLOW_ANONYMOUS is set: everyone who reaches {settings.host} may do "
            "everything without a key",
        )
    if any_key:
        return Notice(logging.INFO, "requests need a key")
    if settings.is_local and settings.proxies:
        return Notice(
            logging.WARNING,
            "no key exists and EMOTION_PROXIES is set: only public routes are answered. "
            f"Make a key: {CREATE_COMMAND}",
        )
    if settings.is_local:
        return Notice(
            logging.WARNING,
            "no key exists: every client on this machine may do everything, and so may clients of "
            f"a proxy or tunnel that the service cannot detect. Make a key: {CREATE_COMMAND}",
        )
    raise SettingError(
        f"HOST={settings.host} lets others in and no key was made. Make a key: {CREATE_COMMAND}, "
        "or let everyone in: EMOTION_ALLOW_ANONYMOUS=true"
    )

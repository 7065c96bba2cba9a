"""Before any worker starts: may the service be where it is about to be?"""

from flask import Flask

from app.errors import StoreUnavailable
from app.settings import ROOT, SettingError, Settings
from app.store import keys
from app.store.database import init_database
from app.store.tables import db

MAKE_ONE = "flask --app wsgi keys create NAME --right analyse --right read"


def who_may(settings: Settings) -> str:
    """Who will be let in, as a sentence for the log. Loads nothing of vision and leaves no
    connection open, so the workers can be forked afterwards.

    Raises SettingError where others than this machine would be let in without anybody having said
    so, and for a database that cannot be used.
    """
    app = Flask("start")
    try:
        init_database(app, settings.database_url, connections=1, migrations=ROOT / "migrations")
    except ValueError as error:  # without the URL itself, which may hold a password
        raise SettingError(f"EMOTION_DATABASE_URL: {error}") from error
    with app.app_context():
        try:
            locked = keys.any_made()
        except StoreUnavailable as error:
            return f"{error.for_operator or error}; whether there are keys is not known yet"
        finally:
            db.engine.dispose()
    if settings.allow_anonymous:
        return f"EMOTION_ALLOW_ANONYMOUS: whoever reaches {settings.host} may do everything"
    if locked:
        return "requests need a key"
    if settings.is_local:
        return f"no key was made yet: this machine alone is answered; {MAKE_ONE} makes one"
    raise SettingError(
        f"HOST={settings.host} lets others in and no key was made: {MAKE_ONE} makes one; "
        "EMOTION_ALLOW_ANONYMOUS=true lets everybody in"
    )

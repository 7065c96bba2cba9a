"""Databases at the head revision."""

import tempfile
from functools import cache
from pathlib import Path

from app import create_app
from app.settings import Settings
from app.store.migrate import upgrade
from app.store.tables import db


def migrate(url: str) -> None:
    """Upgrade the database to the head revision."""
    with create_app(Settings(database_url=url)).app_context():
        upgrade()
        db.engine.dispose()  # SQLite moves its write-ahead log into the file


@cache
def migrated_database() -> bytes:
    """Return the content of a new SQLite database. It is migrated once per process, because this
    takes a third of the start of a service."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "head.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()

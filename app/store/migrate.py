"""Migrates the database schema to a given revision.

Only commands import this module, because Alembic and its dependencies take ten megabytes.
"""

from alembic import command
from alembic.config import Config
from flask import current_app


def upgrade(revision: str = "head") -> None:
    """Upgrade to `revision`. Raises StoreUnavailable."""
    command.upgrade(_config(), revision)


def downgrade(revision: str) -> None:
    """Downgrade to `revision`. "base" removes all tables. Raises StoreUnavailable."""
    command.downgrade(_config(), revision)


def _config() -> Config:
    config = Config()
    # The configuration uses % for variables.
    folder = str(current_app.extensions["migrations"]).replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config

"""Bring the tables to another revision. Imported where that is done only: Alembic and what it needs
would cost every worker ten megabytes."""

from alembic import command
from alembic.config import Config
from flask import current_app


def upgrade(revision: str = "head") -> None:
    """Raises StoreUnavailable."""
    command.upgrade(_config(), revision)


def downgrade(revision: str) -> None:
    """`revision`: where to go back to, `base` for no tables at all. Raises StoreUnavailable."""
    command.downgrade(_config(), revision)


def _config() -> Config:
    config = Config()
    # Alembic reads % as the beginning of a variable.
    folder = str(current_app.extensions["migrations"]).replace("%", "%%")
    config.set_main_option("script_location", folder)
    return config

"""Alembic's entry: migrates the database of the current Flask app, online only."""

from alembic import context
from flask import current_app

migrate = current_app.extensions["migrate"]
metadata = migrate.db.metadatas[None]

with migrate.db.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, **migrate.configure_args)
    with context.begin_transaction():
        context.run_migrations()

"""Alembic's entry: migrates the database of the current Flask app, online only."""

from alembic import context

from app.store.tables import db

with db.engine.connect() as connection:
    context.configure(connection=connection, target_metadata=db.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()

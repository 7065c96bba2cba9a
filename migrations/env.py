"""Alembic environment: migrates the database of the current Flask app. Online mode only.

All steps run in one transaction that holds a lock, so only one process migrates at a time. Other
processes wait and then have nothing to do.
"""

from alembic import context
from sqlalchemy import text

from app.store.connections import LOCK_SECONDS, MODE, WRITE
from app.store.tables import db

WAIT_SECONDS = 600
ADVISORY_LOCK = 0x656D6F74  # an arbitrary number, the same in all processes

engine = db.engine.execution_options(**{MODE: WRITE, LOCK_SECONDS: WAIT_SECONDS})
with engine.connect() as connection:
    # SQLite's DDL is part of the transaction too, because the connection emits BEGIN explicitly.
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # SQLite allows one writer at a time anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": ADVISORY_LOCK})
        context.run_migrations()

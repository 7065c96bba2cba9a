"""Alembic's entry: migrates the database of the current Flask app, online only.

All steps run in one transaction, which holds a lock, so one process migrates at a time. The others
wait and then find nothing left to do.
"""

from alembic import context
from sqlalchemy import text

from app.store.connections import LOCK_SECONDS, MODE, WRITE
from app.store.tables import db

WAIT_SECONDS = 600
ADVISORY_LOCK = 0x656D6F74  # any number that is the same in all processes

engine = db.engine.execution_options(**{MODE: WRITE, LOCK_SECONDS: WAIT_SECONDS})
with engine.connect() as connection:
    # On SQLite too, changes of tables are part of the transaction, because it begins explicitly.
    context.configure(
        connection=connection,
        target_metadata=db.metadata,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": ADVISORY_LOCK})
        context.run_migrations()

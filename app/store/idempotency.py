"""Idempotency records: the image that a request with an Idempotency-Key stored.

The record is written in the transaction that stores the image. All records of a key have the
fingerprint of one whole request: the first image that is stored claims the key for its request. A
replay finds either the whole answer or nothing.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from app.errors import KeyReused
from app.store.tables import IdempotencyRow, db
from app.store.transactions import read_transaction, write_transaction

KEPT = timedelta(days=1)
LOCK_SECONDS = 0.1  # to wait for locks in `forget_old`; a later call can do its work


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """One image of a request with an Idempotency-Key. `caller` is the id of the API key, "" without
    one. `position` is the place of the image in the request. `fingerprint` is a hash of the whole
    request."""

    caller: str
    key: str
    position: int
    fingerprint: str


class AlreadyStored(Exception):
    """The same request was stored in the meantime."""


def image_id(idempotent: IdempotentRequest) -> int | None:
    """The image that the same request stored before, or None. Raises KeyReused."""
    with read_transaction():
        rows = db.session.execute(
            select(
                IdempotencyRow.position, IdempotencyRow.image_id, IdempotencyRow.fingerprint
            ).where(
                IdempotencyRow.caller == idempotent.caller,
                IdempotencyRow.key == idempotent.key,
                IdempotencyRow.created_at > datetime.now(UTC) - KEPT,
            )
        ).all()
    if any(row.fingerprint != idempotent.fingerprint for row in rows):
        raise _key_reused()
    return next((row.image_id for row in rows if row.position == idempotent.position), None)


def remember(connection: Connection, idempotent: IdempotentRequest, image_id: int) -> None:
    """Write the record in the transaction that stores the image, after the row of the image. Raises
    AlreadyStored, and KeyReused when another request has claimed the key."""
    if connection.dialect.name == "postgresql":
        # One transaction per key at a time, until its commit. SQLite has one writer at a time.
        connection.execute(select(func.pg_advisory_xact_lock(_lock_number(idempotent))))
    now = datetime.now(UTC)
    of_key = (IdempotencyRow.caller == idempotent.caller, IdempotencyRow.key == idempotent.key)
    connection.execute(
        delete(IdempotencyRow).where(*of_key, IdempotencyRow.created_at <= now - KEPT)
    )
    query = select(IdempotencyRow.position, IdempotencyRow.fingerprint).where(*of_key)
    rows = connection.execute(query).all()
    if any(row.fingerprint != idempotent.fingerprint for row in rows):
        raise _key_reused()
    if any(row.position == idempotent.position for row in rows):
        raise AlreadyStored
    connection.execute(
        insert(IdempotencyRow).values(
            caller=idempotent.caller,
            key=idempotent.key,
            position=idempotent.position,
            fingerprint=idempotent.fingerprint,
            image_id=image_id,
            created_at=now,
        )
    )


def _key_reused() -> KeyReused:
    return KeyReused("this Idempotency-Key was used for another request")


def _lock_number(idempotent: IdempotentRequest) -> int:
    """A signed 64-bit number for the caller and the key."""
    digest = hashlib.sha256(repr((idempotent.caller, idempotent.key)).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def forget_old() -> None:
    """Delete the records that are too old for a replay."""
    with write_transaction(lock_seconds=LOCK_SECONDS):
        db.session.execute(
            delete(IdempotencyRow).where(IdempotencyRow.created_at <= datetime.now(UTC) - KEPT)
        )

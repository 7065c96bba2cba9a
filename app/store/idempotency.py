"""Records the image that each request with an Idempotency-Key has stored.

The transaction that stores an image also writes its record. A record holds the fingerprint of the
whole request. The first record of a key reserves the key for that request, and another request with
the same key raises KeyReused.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select

from app.errors import KeyReused
from app.store.tables import IdempotencyRow, db
from app.store.transactions import read_transaction, write_transaction

RETENTION = timedelta(days=1)
LOCK_SECONDS = 0.1  # maximum wait for locks in `delete_expired`; a later call tries again


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """One image of a request with an Idempotency-Key.

    `caller` is the id of the API key, or "" without one. `position` is the index of the image in
    the request. `fingerprint` is a hash of the whole request.
    """

    caller: str
    key: str
    position: int
    fingerprint: str


class AlreadyStored(Exception):
    """Another process has stored the image of the same request."""


def image_id(idempotent: IdempotentRequest) -> int | None:
    """Return the id of the image that the same request stored before, or None. Raises KeyReused."""
    with read_transaction():
        rows = db.session.execute(
            select(
                IdempotencyRow.position, IdempotencyRow.image_id, IdempotencyRow.fingerprint
            ).where(
                IdempotencyRow.caller == idempotent.caller,
                IdempotencyRow.key == idempotent.key,
                IdempotencyRow.created_at > datetime.now(UTC) - RETENTION,
            )
        ).all()
    if any(row.fingerprint != idempotent.fingerprint for row in rows):
        raise _key_reused()
    return next((row.image_id for row in rows if row.position == idempotent.position), None)


def insert_record(connection: Connection, idempotent: IdempotentRequest, image_id: int) -> None:
    """Insert the record of an image, in the transaction that inserted the image.

    Raises AlreadyStored if the record exists, and KeyReused if another request has used the key.
    """
    if connection.dialect.name == "postgresql":
        # Lock the key until this transaction ends. SQLite allows only one writer in any case.
        connection.execute(select(func.pg_advisory_xact_lock(_lock_number(idempotent))))
    now = datetime.now(UTC)
    of_key = (IdempotencyRow.caller == idempotent.caller, IdempotencyRow.key == idempotent.key)
    connection.execute(
        delete(IdempotencyRow).where(*of_key, IdempotencyRow.created_at <= now - RETENTION)
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
    """Return a signed 64-bit hash of the caller and the key."""
    digest = hashlib.sha256(repr((idempotent.caller, idempotent.key)).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def delete_expired() -> None:
    """Delete records older than RETENTION."""
    with write_transaction(lock_seconds=LOCK_SECONDS):
        db.session.execute(
            delete(IdempotencyRow).where(IdempotencyRow.created_at <= datetime.now(UTC) - RETENTION)
        )

"""What was already kept of a request that a client sends again.

The record is written in the transaction that keeps the analysis, and its primary key lets the first
one win: a retry that comes while the first is still at work, or after its worker was killed, finds
either the whole answer or nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.errors import KeyReused
from app.store.tables import RetryRow, db
from app.store.transactions import read_transaction, write_transaction

KEPT = timedelta(days=1)
LOCK_SECONDS = 0.1  # of forgetting, which the next one can do as well


@dataclass(frozen=True, slots=True)
class Retry:
    """One picture of a request that may come again: the caller's id, "" for who has none, the
    `key` that the client gave the request, the picture's `position` in it, and a hash of all that
    the request asks."""

    caller: str
    key: str
    position: int
    fingerprint: str


class AlreadyKept(Exception):
    """Somebody else was quicker with the same request."""


def image_id(retry: Retry) -> int | None:
    """The image that this request made before, None where it made none. Raises KeyReused."""
    with read_transaction():
        rows = db.session.execute(
            select(RetryRow.position, RetryRow.image_id, RetryRow.fingerprint).where(
                RetryRow.caller == retry.caller,
                RetryRow.key == retry.key,
                RetryRow.created_at > datetime.now(UTC) - KEPT,
            )
        ).all()
    if any(row.fingerprint != retry.fingerprint for row in rows):
        raise KeyReused("this Idempotency-Key came with another request before")
    return next((row.image_id for row in rows if row.position == retry.position), None)


def remember(connection: Connection, retry: Retry, image_id: int) -> None:
    """As part of the transaction that keeps the image. Raises AlreadyKept."""
    now = datetime.now(UTC)
    its = (RetryRow.caller == retry.caller, RetryRow.key == retry.key)
    connection.execute(delete(RetryRow).where(*its, RetryRow.created_at <= now - KEPT))
    try:
        connection.execute(
            insert(RetryRow).values(
                caller=retry.caller,
                key=retry.key,
                position=retry.position,
                fingerprint=retry.fingerprint,
                image_id=image_id,
                created_at=now,
            )
        )
    except IntegrityError as error:
        raise AlreadyKept from error


def forget_old() -> None:
    """Records that no retry is measured by any more."""
    with write_transaction(lock_seconds=LOCK_SECONDS):
        db.session.execute(delete(RetryRow).where(RetryRow.created_at <= datetime.now(UTC) - KEPT))

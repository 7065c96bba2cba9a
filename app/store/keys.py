"""Stores API keys. The store holds only the hash of a secret."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import exists, select, update

from app.errors import NotFound
from app.store.tables import KeyRow, db
from app.store.transactions import read_transaction, write_transaction


class Right(StrEnum):
    """A right of an API key. ADMIN includes all other rights."""

    ANALYSE = "analyse"
    READ = "read"
    ERASE = "erase"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """An API key. `id` is the public part, and `secret_hash` is the hash of the secret part."""

    id: str
    name: str
    rights: frozenset[Right]
    created_at: datetime
    secret_hash: str = field(repr=False)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def has_right(self, right: Right) -> bool:
        return right in self.rights or Right.ADMIN in self.rights

    def invalid_reason(self, now: datetime) -> str | None:
        """Return "revoked" or "expired", or None if the key is valid at `now`."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else None


def add(key: Key) -> None:
    """Store a key. Raises ValueError for a key without rights."""
    if not key.rights:
        raise ValueError("a key needs at least one right")
    with write_transaction():
        db.session.add(
            KeyRow(
                id=key.id,
                name=key.name,
                secret_hash=key.secret_hash,
                rights=sorted(key.rights),
                created_at=key.created_at,
                expires_at=key.expires_at,
            )
        )


def find(key_id: str) -> Key | None:
    with read_transaction():
        row = db.session.get(KeyRow, key_id)
        return None if row is None else _key(row)


def find_all() -> list[Key]:
    """Return all keys, including revoked and expired ones, oldest first."""
    with read_transaction():
        rows = db.session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.id))
        return [_key(row) for row in rows]


def any_exists() -> bool:
    """Return whether a key was ever created, including revoked keys.

    Revoked keys count, so revoking the last key does not allow requests without a key.
    """
    with read_transaction():
        return bool(db.session.scalar(select(exists(select(KeyRow.id)))))


def revoke(key_id: str) -> None:
    """Revoke a key. Revoking it again changes nothing. Raises NotFound."""
    with write_transaction():
        if db.session.get(KeyRow, key_id) is None:
            raise NotFound(f"there is no key {key_id}")
        db.session.execute(
            update(KeyRow)
            .where(KeyRow.id == key_id, KeyRow.revoked_at.is_(None))
            .values(revoked_at=datetime.now(UTC))
        )


def _key(row: KeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        rights=frozenset(Right(right) for right in row.rights),
        created_at=row.created_at,
        secret_hash=row.secret_hash,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )

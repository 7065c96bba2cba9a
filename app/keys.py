"""Creates, verifies and revokes API keys. The store contains only a hash of the secret.

A key is `emo_<id>_<secret>`. The id is public and identifies the row. The secret has 256 random
bits and is stored as a scrypt hash. A random secret cannot be guessed, so the hash may be cheaper
than a password hash: computing it takes 4 MB and 10 ms. This is about the time to analyse a small
image. A worker therefore caches the keys that it has verified, and checks the limit on wrong keys
before it computes the hash. It checks revocation and expiry for each request.
"""

import hashlib
import logging
import re
import secrets
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from cachetools import LRUCache
from werkzeug.security import check_password_hash, generate_password_hash

from app.attempts import FailedAttempts
from app.errors import WrongKey
from app.store import keys
from app.store.keys import Key, Right

PREFIX = "emo"
ID_BYTES, SECRET_BYTES = 6, 32
HASH_METHOD = "scrypt:4096:8:1"
MAX_VERIFIED = 1000
CREATE_COMMAND = "flask --app wsgi keys create NAME --right analyse --right read"

_KEY = re.compile(rf"{PREFIX}_([0-9a-f]{{{2 * ID_BYTES}}})_([A-Za-z0-9_-]{{43}})")
# A hash that belongs to no key. With it, checking an unknown id takes as long as a known id.
_DUMMY_HASH = generate_password_hash(secrets.token_urlsafe(SECRET_BYTES), method=HASH_METHOD)

log = logging.getLogger(__name__)


def issue(name: str, rights: Iterable[Right], expires_at: datetime | None = None) -> str:
    """Create and store an API key, and return it. The secret cannot be read again later.

    Raises ValueError if `rights` is empty.
    """
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    rights = frozenset(rights)
    keys.add(
        Key(
            id=key_id,
            name=name,
            rights=rights,
            created_at=datetime.now(UTC),
            secret_hash=generate_password_hash(secret, method=HASH_METHOD),
            expires_at=expires_at,
        )
    )
    log.info(
        "key created", extra={"event": "key_created", "key_id": key_id, "rights": sorted(rights)}
    )
    return f"{PREFIX}_{key_id}_{secret}"


def revoke(key_id: str) -> None:
    """Revoke a key: the service rejects it from the next request on. Raises NotFound."""
    keys.revoke(key_id)
    log.info("key revoked", extra={"event": "key_revoked", "key_id": key_id})


class KeyVerifier:
    """Verifies API keys. `failures` limits wrong keys; None means no limit."""

    def __init__(self, failures: FailedAttempts | None = None) -> None:
        self._failures = failures
        self._verified: LRUCache[bytes, str] = LRUCache(MAX_VERIFIED)
        self._lock = threading.Lock()
        self._checking = threading.Lock()

    def identify(self, api_key: str, address: str) -> Key:
        """Return the stored key that `api_key`, sent by a client at `address`, belongs to.

        Raises WrongKey for a malformed, unknown, revoked or expired key, and TooManyRequests after
        too many wrong keys. This limit does not apply to keys that were verified before.
        """
        match = _KEY.fullmatch(api_key)
        key_id, secret = match.groups() if match else (None, "")
        digest = hashlib.sha256(api_key.encode()).digest()
        verified_hash = self._verified_hash(digest)
        if verified_hash is None:
            self._check_failures(address, key_id)
        key = keys.find(key_id) if key_id else None
        if key is None or verified_hash != key.secret_hash:
            # One check at a time: parallel first requests with the same key compute the hash once,
            # and wrong keys from many addresses use at most one CPU.
            with self._checking:
                key = self._verify(key, key_id, secret, digest, address)
        if reason := key.invalid_reason(datetime.now(UTC)):
            log.warning(
                "a revoked or expired key was used",
                extra={"event": "ended_key_shown", "key_id": key.id, "end": reason},
            )
            is_revoked = reason == "revoked"
            raise WrongKey("the key has been revoked" if is_revoked else "the key has expired")
        return key

    def _verify(
        self, key: Key | None, key_id: str | None, secret: str, digest: bytes, address: str
    ) -> Key:
        if key is not None and self._verified_hash(digest) == key.secret_hash:
            return key
        self._check_failures(address, key_id)
        matches = key_id is not None and check_password_hash(
            key.secret_hash if key else _DUMMY_HASH, secret
        )
        if key is None or not matches:
            if self._failures:
                self._failures.count(address, key_id)
            raise WrongKey("the API key is not valid")
        with self._lock:
            self._verified[digest] = key.secret_hash
        return key

    def _verified_hash(self, digest: bytes) -> str | None:
        with self._lock:
            return self._verified.get(digest)

    def _check_failures(self, address: str, key_id: str | None) -> None:
        if self._failures:
            self._failures.check(address, key_id)

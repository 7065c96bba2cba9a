"""Keys: made once, shown once, known by their hash.

A key is `emo_<id>_<secret>`. The id finds its row; of the secret, 256 random bits, a scrypt hash is
kept. No dictionary holds such a secret, so the hash takes 4 MB and 10 ms and not the many that a
password would need; and as those 10 ms are as much as a small picture costs, a worker remembers
which keys it has seen to be right. That a key was revoked or has expired is looked up each time.
"""

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime

from werkzeug.security import check_password_hash, generate_password_hash

from app.errors import WrongKey
from app.store import keys
from app.store.keys import Key, Right

PREFIX = "emo"
ID_BYTES, SECRET_BYTES = 6, 32
HASH_METHOD = "scrypt:4096:8:1"
MOST_REMEMBERED = 1000


def issue(name: str, rights: Iterable[Right], expires_at: datetime | None = None) -> str:
    """Make and store a key; the answer is the only time that anybody sees it. Raises ValueError for
    no rights at all."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    keys.add(
        Key(
            id=key_id,
            name=name,
            rights=frozenset(rights),
            created_at=datetime.now(UTC),
            secret_hash=generate_password_hash(secret, method=HASH_METHOD),
            expires_at=expires_at,
        )
    )
    return f"{PREFIX}_{key_id}_{secret}"


class Doorkeeper:
    """Tells whose key a text is."""

    def __init__(self) -> None:
        self._right_ones: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def identify(self, text: str) -> Key:
        """Raises WrongKey for anything but a key that holds now."""
        prefix, _, rest = text.partition("_")
        key_id, _, secret = rest.partition("_")
        key = keys.find(key_id) if prefix == PREFIX and secret else None
        if key is None or not self._is_right(text, secret, key.secret_hash):
            raise WrongKey("there is no such key")
        if end := key.end(datetime.now(UTC)):
            raise WrongKey(f"the key has {'been ' if end == 'revoked' else ''}{end}")
        return key

    def _is_right(self, text: str, secret: str, secret_hash: str) -> bool:
        digest = hashlib.sha256(text.encode()).digest()
        with self._lock:
            if self._right_ones.get(digest) == secret_hash:
                self._right_ones.move_to_end(digest)
                return True
        if not check_password_hash(secret_hash, secret):
            return False
        with self._lock:
            self._right_ones[digest] = secret_hash
            if len(self._right_ones) > MOST_REMEMBERED:
                self._right_ones.popitem(last=False)
        return True

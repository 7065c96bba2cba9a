"""How kept pictures are encrypted. Imported where there is a key only: the library costs every
worker six megabytes."""

import os
from base64 import b64decode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class Cipher:
    """AES-256-GCM, by a key that is base64 of 32 bytes. Raises ValueError for another key."""

    def __init__(self, key: str) -> None:
        try:
            secret = b64decode(key, validate=True)
        except ValueError as error:
            raise ValueError("it is not base64") from error
        if len(secret) != KEY_BYTES:
            raise ValueError(f"it is base64 of {len(secret)} bytes, not of {KEY_BYTES}")
        self._aes = AESGCM(secret)

    def seal(self, data: bytes, name: str) -> bytes:
        """A nonce and `data`, encrypted and bound to `name`: nobody can put one person's picture
        in another's place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, data, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Raises ValueError where another key sealed it, under another name, or it is damaged."""
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except InvalidTag as error:
            raise ValueError("it was not sealed like this") from error

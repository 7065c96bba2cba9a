"""Encrypts kept images. Imported only where a key is set: the library takes six megabytes of each
worker."""

import os
from base64 import b64decode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class Cipher:
    """AES-256-GCM. The key is base64 of 32 bytes; raises ValueError for any other."""

    def __init__(self, key: str) -> None:
        try:
            secret = b64decode(key, validate=True)
        except ValueError as error:
            raise ValueError("it is not base64") from error
        if len(secret) != KEY_BYTES:
            raise ValueError(f"it is base64 of {len(secret)} bytes, not of {KEY_BYTES}")
        self._aes = AESGCM(secret)

    def seal(self, data: bytes, name: str) -> bytes:
        """Return a nonce and the encrypted `data`. The result can only be decrypted under the same
        `name`, so a file cannot take the place of another one."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, data, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Decrypt the result of `seal`. Raises ValueError for another key, another name and
        changed data."""
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except InvalidTag as error:
            raise ValueError("it was encrypted with another key or name, or was changed") from error

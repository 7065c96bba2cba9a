"""Encrypts the stored image files ("kept images").

Imported only if a key is set, because the library takes six megabytes in each worker.
"""

import os
from base64 import b64decode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class Cipher:
    """AES-256-GCM with a key that is given as the base64 of 32 bytes.

    Raises ValueError if the key is not valid base64 or has a different length.
    """

    def __init__(self, key: str) -> None:
        try:
            secret = b64decode(key, validate=True)
        except ValueError as error:
            raise ValueError(f"must be the base64 encoding of {KEY_BYTES} bytes") from error
        if len(secret) != KEY_BYTES:
            raise ValueError(
                f"must be the base64 encoding of {KEY_BYTES} bytes, got {len(secret)} bytes"
            )
        self._aes = AESGCM(secret)

    def seal(self, data: bytes, name: str) -> bytes:
        """Return a nonce followed by the encrypted `data`.

        Decryption needs the same `name`, so swapped files are detected.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, data, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Decrypt the result of `seal`.

        Raises ValueError if the key or the name differs or the data was changed.
        """
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except InvalidTag as error:
            raise ValueError("wrong key or name, or the data was changed") from error

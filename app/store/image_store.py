"""The protocol of a store of kept images, and the store of the current application.

app.store.kept_images decides which files belong to stored images. app.store.image_folder stores the
files in a folder.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

from flask import current_app


class ImageStore(Protocol):
    """Stores one file for each kept image, under a name that app.store.kept_images chooses.

    A name has 32 hexadecimal digits: random digits, then the id of the database. `keeps` says
    whether new images are kept. Existing files can be read and removed in any case. Several
    databases may share a store, so an implementation must be safe to use from several threads and
    processes. An implementation that can encrypt files returns None instead of a checksum.
    """

    keeps: bool

    def write(self, name: str, data: bytes) -> str | None:
        """Write a new file durably.

        Returns the SHA-256 of a plain file, or None for an encrypted one. The database stores the
        value. Raises StoreUnavailable on failure, and removes the file.
        """

    def read(self, name: str, digest: str | None) -> bytes:
        """Return the content of a file, decrypted if necessary.

        `digest` is the value that `write` returned. Raises NotFound if the file does not exist, and
        StoreUnavailable if it cannot be read, was changed, or needs another key.
        """

    def remove(self, names: Iterable[str]) -> set[str]:
        """Remove files durably. Return the names of files that no longer exist.

        Logs failures. A name without a file is not a failure.
        """

    def files_of_database(self, database_id: str) -> Iterator[str]:
        """Yield the names of files older than an hour that the database with this id wrote.

        Younger files may belong to a save in progress. Raises StoreUnavailable.
        """


def image_store() -> ImageStore:
    """Return the store of kept images of the current application."""
    store: ImageStore = current_app.extensions["image_store"]
    return store


def random_digits() -> str:
    """Return 20 hexadecimal digits, with which the name of a new file begins.

    The name ends with the 12 digits of the database's id.
    """
    return secrets.token_hex(10)

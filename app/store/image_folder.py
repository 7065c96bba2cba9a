"""Stores kept images in a folder, one plain or encrypted file per image."""

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import NotFound, StoreUnavailable
from app.store.files import make_private_folder

if TYPE_CHECKING:
    from app.store.cipher import Cipher

log = logging.getLogger(__name__)

ENCRYPTED = b"emotion\x01"  # the first bytes of an encrypted file; no image format uses them
MIN_ORPHAN_SECONDS = 3600  # younger files may belong to a save in progress
_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{32}")


class ImageFolder:
    """An ImageStore: files with random names, in folders named after the first two digits.

    The folder is created with the first file. With a `cipher`, new files are encrypted. `keeps` is
    False if new images are not stored. Existing files can be read in any case.
    """

    def __init__(self, folder: Path, *, keeps: bool, cipher: "Cipher | None" = None) -> None:
        self.keeps = keeps
        self._folder = folder.resolve()
        self._cipher = cipher

    def write(self, name: str, data: bytes) -> str | None:
        """Write a new file and sync it to the disk.

        Returns the SHA-256 of a plain file, or None for an encrypted one. Raises StoreUnavailable
        on failure, and removes the file.
        """
        digest = None
        if self._cipher:
            data = ENCRYPTED + self._cipher.seal(data, name)
        else:
            digest = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            make_private_folder(path.parent)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            for folder in (path.parent, self._folder):
                _sync(folder)
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            raise StoreUnavailable("the folder of kept images cannot be written") from error
        return digest

    def read(self, name: str, digest: str | None) -> bytes:
        """Return the content of a file, decrypted if necessary.

        `digest` is the value that `write` returned. Raises NotFound if the file does not exist, and
        StoreUnavailable if it cannot be read, was changed, or needs a different key.
        """
        try:
            data = _read_regular(self._path(name))
        except FileNotFoundError as error:
            raise NotFound("the file of the kept image is missing") from error
        except OSError as error:
            raise StoreUnavailable("the kept image cannot be read") from error
        if digest is not None:
            if hashlib.sha256(data).hexdigest() != digest:
                raise StoreUnavailable("the file of the kept image was changed")
            return data
        if not data.startswith(ENCRYPTED):
            raise StoreUnavailable(
                "the file of the kept image was stored encrypted, but is not encrypted now"
            )
        if self._cipher is None:
            raise StoreUnavailable("the kept image is encrypted, and EMOTION_PICTURES_KEY is empty")
        try:
            return self._cipher.open(data[len(ENCRYPTED) :], name)
        except ValueError as error:
            raise StoreUnavailable("the kept image cannot be decrypted with this key") from error

    def remove(self, names: Iterable[str]) -> set[str]:
        """Remove files durably. Return the names of files that no longer exist. Logs failures."""
        removed: set[str] = set()
        for name in names:
            try:
                self._path(name).unlink(missing_ok=True)
                removed.add(name)
            except OSError as error:
                log.error("the file of a kept image cannot be removed: %s", error.strerror)
        for first in {name[:2] for name in removed}:
            try:
                _sync(self._folder / first)
            except FileNotFoundError:  # the file was never written
                continue
            except OSError as error:
                log.error(
                    "cannot sync the removal of a kept image's file to the disk: %s", error.strerror
                )
                removed -= {name for name in removed if name.startswith(first)}
        return removed

    def files_of_database(self, database_id: str) -> Iterator[str]:
        """Yield the names of files older than an hour that the database with this id wrote.

        Other files may belong to the operator: files with other names, symbolic links, files in
        linked folders, and files of another owner. This function skips them.
        """
        until = time.time() - MIN_ORPHAN_SECONDS
        for folder in _entries(self._folder):
            if not (_FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False)):
                continue
            for file in _entries(folder):
                is_from_database = _NAME.fullmatch(file.name) and file.name.endswith(database_id)
                if not is_from_database or file.name[:2] != folder.name:
                    continue
                with suppress(FileNotFoundError):  # removed by another process
                    status = file.stat(follow_symlinks=False)
                    if (
                        stat.S_ISREG(status.st_mode)
                        and status.st_uid == os.geteuid()
                        and status.st_mtime < until
                    ):
                        yield file.name

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def _entries(folder: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder, or nothing if it does not exist. Raises StoreUnavailable."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable("the folder of kept images cannot be read") from error


def _read_regular(path: Path) -> bytes:
    """Read a regular file. Raises OSError for other files, and does not wait for a named pipe."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("not a regular file")
        return opened.read()


def _sync(folder: Path) -> None:
    """Sync the entries of a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

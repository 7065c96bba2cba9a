"""Reads and writes the folder of kept images: one file per image, plain or encrypted.

This module knows files only. app.store.kept_images knows which of them belong to stored images.
"""

import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import current_app

from app.errors import NotFound, StoreUnavailable
from app.store.files import make_private_folder

if TYPE_CHECKING:
    from app.store.cipher import Cipher

log = logging.getLogger(__name__)

ENCRYPTED = b"emotion\x01"  # the first bytes of an encrypted file; no image begins like this
STRAY_SECONDS = 3600
_FOLDER = re.compile(r"[0-9a-f]{2}")
_NAME = re.compile(r"[0-9a-f]{32}")


def random_digits() -> str:
    """The first 20 hexadecimal digits of the name of a new file. The last 12 are the mark of its
    database."""
    return secrets.token_hex(10)


class ImageFolder:
    """Files with random names, in folders named after their first two digits.

    Nothing is created on the disk before the first image is kept. With a `cipher` new files are
    encrypted. `keeps` tells whether new images are kept; existing files can be read either way.
    """

    def __init__(self, folder: Path, *, keeps: bool, cipher: "Cipher | None" = None) -> None:
        self.keeps = keeps
        self._folder = folder.resolve()
        self._cipher = cipher

    def write(self, name: str, data: bytes) -> str | None:
        """Write a new file and sync it to the disk. Return the SHA-256 of a plain file, None for
        an encrypted one. Raises StoreUnavailable; then no file is left."""
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
        """Return the image in a file. `digest` is what `write` returned: a plain file must be
        unchanged, and must not be in the place of an encrypted one.

        Raises NotFound when there is no file, and StoreUnavailable when it cannot be read, is not
        the file that was written, or needs another key.
        """
        try:
            data = _read_regular(self._path(name))
        except FileNotFoundError as error:
            raise NotFound("the file of the kept image is missing") from error
        except OSError as error:
            raise StoreUnavailable("the kept image cannot be read") from error
        if digest is not None:
            if hashlib.sha256(data).hexdigest() != digest:
                raise StoreUnavailable("the kept image is not the file that was stored")
            return data
        if not data.startswith(ENCRYPTED):
            raise StoreUnavailable("the kept image is not the encrypted file that was stored")
        if self._cipher is None:
            raise StoreUnavailable("the kept image is encrypted, and EMOTION_PICTURES_KEY is empty")
        try:
            return self._cipher.open(data[len(ENCRYPTED) :], name)
        except ValueError as error:
            raise StoreUnavailable("the kept image cannot be decrypted with this key") from error

    def remove(self, names: Iterable[str]) -> set[str]:
        """Remove files durably. Return the names of those that no longer exist; log failures."""
        gone: set[str] = set()
        for name in names:
            try:
                self._path(name).unlink(missing_ok=True)
                gone.add(name)
            except OSError as error:
                log.error("the file of a kept image cannot be removed: %s", error.strerror)
        for first in {name[:2] for name in gone}:
            try:
                _sync(self._folder / first)
            except FileNotFoundError:  # the file was never written
                continue
            except OSError as error:
                log.error("the removal of a kept image's file is not durable: %s", error.strerror)
                gone -= {name for name in gone if name.startswith(first)}
        return gone

    def marked(self, mark: str) -> Iterator[str]:
        """Yield the names of files that the database with this `mark` wrote more than an hour ago.

        Anything else may belong to the operator and is skipped: other names, symbolic links, files
        in linked folders, and files of another owner.
        """
        until = time.time() - STRAY_SECONDS
        for folder in _entries(self._folder):
            if not (_FOLDER.fullmatch(folder.name) and folder.is_dir(follow_symlinks=False)):
                continue
            for file in _entries(folder):
                ours = _NAME.fullmatch(file.name) and file.name.endswith(mark)
                if not ours or file.name[:2] != folder.name:
                    continue
                with suppress(FileNotFoundError):  # removed meanwhile
                    state = file.stat(follow_symlinks=False)
                    if (
                        stat.S_ISREG(state.st_mode)
                        and state.st_uid == os.geteuid()
                        and state.st_mtime < until
                    ):
                        yield file.name

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def image_folder() -> ImageFolder:
    """The folder of the current application."""
    return cast(ImageFolder, current_app.extensions["pictures"])


def _entries(folder: Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a folder; a missing one has none. Raises StoreUnavailable."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable("the folder of kept images cannot be read") from error


def _read_regular(path: Path) -> bytes:
    """Read a regular file. Raises OSError for anything else; never waits for a named pipe."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("not a regular file")
        return opened.read()


def _sync(folder: Path) -> None:
    """Make additions and removals of files in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

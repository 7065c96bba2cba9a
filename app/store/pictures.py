"""Pictures that are kept, where the operator asked for it: a file each, plain or encrypted.

An image's row has the name of its file. The file is whole on the disk before the row is committed
and gone before an erasure is, so no row waits for its file. Where the process dies in between, or
the database goes away just while it commits, a file may be left without a row: `sweep` removes it.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flask import current_app

from app.errors import NotFound, StoreUnavailable

if TYPE_CHECKING:
    from app.store.cipher import Cipher

log = logging.getLogger(__name__)

ENCRYPTED = b"emotion\x01"  # how such a file begins, as no picture does
SETTLED_SECONDS = 3600  # no request takes longer, so what has no row by then will get none
SWEPT_AT_ONCE = 500


class PictureFolder:
    """Files of random names, in folders by their first two letters. Makes nothing on the disk
    until a picture is kept.

    `keeps`: whether new pictures are. With a `cipher` new files are encrypted; files of either kind
    can be read side by side.
    """

    def __init__(self, folder: Path, *, keeps: bool, cipher: "Cipher | None" = None) -> None:
        self.keeps = keeps
        self._folder = folder.resolve()
        self._cipher = cipher

    def keep(self, data: bytes) -> str:
        """The name of a new file that holds `data`, safe on the disk. Raises StoreUnavailable; then
        nothing is kept."""
        name = uuid.uuid4().hex
        path = self._path(name)
        if self._cipher:
            data = ENCRYPTED + self._cipher.seal(data, name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            for folder in (path.parent, self._folder):
                _sync(folder)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreUnavailable("the folder of kept pictures cannot be written") from error
        return name

    def read(self, name: str) -> bytes:
        """The picture of that file. Raises NotFound where it is not there and StoreUnavailable
        where it cannot be read or, for want of the right key or of a whole file, opened."""
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("the picture is not there any more") from error
        except OSError as error:
            raise StoreUnavailable("the kept picture cannot be read") from error
        if not data.startswith(ENCRYPTED):
            return data
        if self._cipher is None:
            raise StoreUnavailable("the kept picture is encrypted, and there is no key")
        try:
            return self._cipher.open(data[len(ENCRYPTED) :], name)
        except ValueError as error:
            raise StoreUnavailable("the kept picture cannot be opened with this key") from error

    def erase(self, names: Iterable[str]) -> None:
        """Raises StoreUnavailable where a file is there and cannot be removed."""
        for name in names:
            try:
                self._path(name).unlink()
            except FileNotFoundError:  # an erasure that was interrupted goes on
                log.warning("a kept picture was not there any more")
            except OSError as error:
                raise StoreUnavailable("a kept picture cannot be erased") from error

    def sweep(self, known: Callable[[list[str]], set[str]]) -> int:
        """Remove files older than an hour that no row names, and say how many. `known`: which of
        these names rows have. Raises StoreUnavailable."""
        removed = 0
        settled = self._settled()
        while names := list(islice(settled, SWEPT_AT_ONCE)):
            lost = set(names) - known(names)
            self.erase(lost)
            removed += len(lost)
        return removed

    def _settled(self) -> Iterator[str]:
        until = time.time() - SETTLED_SECONDS
        for path in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):  # erased meanwhile
                if path.stat().st_mtime < until:
                    yield path.name

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def pictures() -> PictureFolder:
    return cast(PictureFolder, current_app.extensions["pictures"])


def _sync(folder: Path) -> None:
    """A new file's name is safe on the disk once its folder is."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""A full disk, and bytes that remain after an erasure."""

import contextlib
import os
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import quote

from attacks import images
from attacks.result import Result, Skip, counted
from attacks.target import PHOTO, Target, target, until

POSTS = 60
ERASURES = 8
ERASED_SECONDS = 30.0
CREATED, NO_CONTENT, OK, NOT_FOUND, UNAVAILABLE = 201, 204, 200, 404, 503
_DISK_MEGABYTES = 24
_AT_ONCE = 4
_MOST_POSTS = 4 * POSTS
_PATIENCE_SECONDS = 10.0
_MARKER = "attack-marker-7f3a91"
# Images of 256 faces with a name of a kilobyte: their CSV is larger than the 4 MB that Linux
# buffers for a connection.
_CROWDS, _CROWD_SIDE = 20, 16
_LONG_NAME = 250 * "\N{GRINNING FACE}"
_CSV_BYTES = 5_500_000


def full_disk(quick: bool) -> Iterator[Result]:
    """The database on a full disk, and kept images on another disk."""
    if os.geteuid() != 0:
        raise Skip("only root may mount a small disk")
    with _small_disk() as disk, tempfile.TemporaryDirectory(prefix="emotion-attack-") as name:
        kept = Path(name)
        with target(
            EMOTION_DATABASE_URL=f"sqlite:///{disk / 'service.db'}",
            EMOTION_KEEP_PICTURES="true",
            EMOTION_PICTURES_DIR=str(kept),
        ) as it:
            for _ in range(ERASURES):
                it.post()
            with _filled(disk):
                posts = _refused_posts(it)
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    erased = list(
                        pool.map(
                            lambda number: it.ask("DELETE", f"/v1/images/{number}").status,
                            range(1, ERASURES + 1),
                        )
                    )
            strays, without_file = settled(it, kept)
    refused = posts.count(UNAVAILABLE)
    yield Result(
        "database on a full disk, images kept on another",
        len(posts) + ERASURES,
        f"posts {counted(posts)}; erasures {counted(erased)}; {strays} files without a row, "
        f"{without_file} rows without a file",
        f"{POSTS} posts answered 503, no file without a row and no row without a file",
        refused >= POSTS
        and set(posts) <= {CREATED, UNAVAILABLE}
        and set(erased) <= {NO_CONTENT, UNAVAILABLE}
        and strays == without_file == 0,
    )


def erased_bytes(quick: bool) -> Iterator[Result]:
    """Erasures while the database is read: by an open transaction, and by a slow CSV export."""
    yield _erased("erased during an open read transaction", _transaction)
    if not quick:
        yield _erased("erased while a client reads CSV slowly", _slow_csv, EMOTION_MAX_FACES="256")


def _erased(
    name: str, reader: Callable[[Target], AbstractContextManager[None]], **environment: str
) -> Result:
    with target(**environment) as it:
        number = 1
        for number in range(1, 4):
            status = it.post(PHOTO, f"file_name={_MARKER}-{number}.jpg").status
            if status != CREATED:
                raise RuntimeError(f"a post was answered {status}")
        with reader(it):
            answer = it.ask("DELETE", f"/v1/images/{number}")
            held = _seen(it, number)
        end = time.monotonic()
        gone = any(not _seen(it, number) for _ in until(ERASED_SECONDS))
        seconds = time.monotonic() - end
    found = "there" if held else "gone"
    afterwards = f"gone {seconds:.1f} s" if gone else f"there {seconds:.0f} s"
    return Result(
        name,
        1,
        f"{answer.status}; the bytes were {found} while it read, {afterwards} afterwards",
        f"204, and gone from the database, -wal and -shm within {ERASED_SECONDS:g} s of the "
        "reader's end, without a further request",
        answer.status == NO_CONTENT and gone,
    )


def _seen(it: Target, number: int) -> bool:
    """Whether the file name of this image is in a file of the database."""
    marker = f"{_MARKER}-{number}".encode()
    return any(marker in file.read_bytes() for file in it.folder.glob("service.db*"))


@contextlib.contextmanager
def _transaction(it: Target) -> Iterator[None]:
    with contextlib.closing(
        sqlite3.connect(it.folder / "service.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM images").fetchone()
        yield


@contextlib.contextmanager
def _slow_csv(it: Target) -> Iterator[None]:
    """A client that reads only the first bytes of a response larger than all buffers."""
    crowd = images.wallpaper(_CROWD_SIDE * images.FACE)
    query = f"file_name={quote(_LONG_NAME)}"
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda _: it.post(crowd, query), range(_CROWDS)))
    size = len(it.ask("GET", "/v1/faces", headers={"Accept": "text/csv"}).body)
    if size < _CSV_BYTES:
        raise RuntimeError(f"the CSV has {size} bytes, too few for a slow reader")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(it.address)
        connection.sendall(it.head("GET", "/v1/faces", "Accept: text/csv") + b"\r\n")
        if not connection.recv(64).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError("the CSV was refused")
        it.rests(20)  # until the buffers are full
        yield


def _refused_posts(it: Target) -> list[int]:
    """Post until enough posts were refused; return all statuses."""
    statuses: list[int] = []

    def post() -> None:
        while statuses.count(UNAVAILABLE) < POSTS and len(statuses) < _MOST_POSTS:
            statuses.append(it.post().status)

    threads = [threading.Thread(target=post) for _ in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def settled(it: Target, kept: Path) -> tuple[int, int]:
    """The numbers of files without an image and of images without a file: the smallest within
    _PATIENCE_SECONDS, which the service has to clean up."""
    fewest = (_MOST_POSTS, _MOST_POSTS)
    for _ in until(_PATIENCE_SECONDS, every=1.0):
        files = sum(path.is_file() for path in kept.rglob("*"))
        pictures = [
            it.ask("GET", f"/v1/images/{image['id']}/picture").status for image in it.images()
        ]
        with_file = pictures.count(OK)
        fewest = min(fewest, (files - with_file, len(pictures) - with_file))
        if fewest == (0, 0):
            break
    return fewest


@contextlib.contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="emotion-attack-") as name:
        size = f"size={_DISK_MEGABYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


@contextlib.contextmanager
def _filled(disk: Path) -> Iterator[None]:
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()

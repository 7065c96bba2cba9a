"""A full disk, and bytes of deleted images in the files of the database."""

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
from attacks.target import PHOTO, Target, poll, target

POSTS = 60
DELETIONS = 8
DELETED_SECONDS = 30.0
CREATED, NO_CONTENT, OK, NOT_FOUND, UNAVAILABLE = 201, 204, 200, 404, 503
_DISK_MEGABYTES = 24
_CONCURRENCY = 4
_MAX_POSTS = 4 * POSTS
_CLEAN_UP_SECONDS = 10.0
_MARKER = "attack-marker-7f3a91"
# Images with 256 faces and a name of one kilobyte. Their CSV is larger than the 4 MB that Linux
# buffers per connection.
_CROWDS, _CROWD_SIDE = 20, 16
_LONG_NAME = 250 * "\N{GRINNING FACE}"
_CSV_BYTES = 5_500_000


def full_disk(quick: bool) -> Iterator[Result]:
    """The database on a full disk, and the stored image files on another disk."""
    if os.geteuid() != 0:
        raise Skip("needs root to mount a small disk")
    with _small_disk() as disk, tempfile.TemporaryDirectory(prefix="emotion-attack-") as name:
        images_dir = Path(name)
        with target(
            EMOTION_DATABASE_URL=f"sqlite:///{disk / 'service.db'}",
            EMOTION_KEEP_PICTURES="true",
            EMOTION_PICTURES_DIR=str(images_dir),
        ) as service:
            for _ in range(DELETIONS):
                service.post()
            with _filled(disk):
                posts = _rejected_posts(service)
                with ThreadPoolExecutor(_CONCURRENCY) as pool:
                    deleted = list(
                        pool.map(
                            lambda number: service.request("DELETE", f"/v1/images/{number}").status,
                            range(1, DELETIONS + 1),
                        )
                    )
            without_row, without_file = count_orphans(service, images_dir)
    rejected = posts.count(UNAVAILABLE)
    yield Result(
        "database on a full disk, image files on another",
        len(posts) + DELETIONS,
        f"posts {counted(posts)}; deletions {counted(deleted)}; {without_row} files without a row, "
        f"{without_file} rows without a file",
        f"{POSTS} posts answered 503, no file without a row and no row without a file",
        rejected >= POSTS
        and set(posts) <= {CREATED, UNAVAILABLE}
        and set(deleted) <= {NO_CONTENT, UNAVAILABLE}
        and without_row == without_file == 0,
    )


def deleted_bytes(quick: bool) -> Iterator[Result]:
    """Deletions during an open read transaction, and during a slow CSV export."""
    yield _deleted("deleted during an open read transaction", _transaction)
    if not quick:
        yield _deleted(
            "deleted while a client reads CSV slowly", _slow_csv, EMOTION_MAX_FACES="256"
        )


def _deleted(
    name: str, reader: Callable[[Target], AbstractContextManager[None]], **environment: str
) -> Result:
    with target(**environment) as service:
        number = 1
        for number in range(1, 4):
            status = service.post(PHOTO, f"file_name={_MARKER}-{number}.jpg").status
            if status != CREATED:
                raise RuntimeError(f"a post was answered {status}, expected {CREATED}")
        with reader(service):
            answer = service.request("DELETE", f"/v1/images/{number}")
            visible = _is_visible(service, number)
        end = time.monotonic()
        gone = any(not _is_visible(service, number) for _ in poll(DELETED_SECONDS))
        seconds = time.monotonic() - end
    during = "present" if visible else "gone"
    afterwards = f"gone {seconds:.1f} s" if gone else f"present {seconds:.0f} s"
    return Result(
        name,
        1,
        f"{answer.status}; the bytes were {during} during the read, {afterwards} afterwards",
        "204, and the bytes are gone from the database, -wal and -shm within "
        f"{DELETED_SECONDS:g} s after the read, without another request",
        answer.status == NO_CONTENT and gone,
    )


def _is_visible(service: Target, number: int) -> bool:
    """Whether a file of the database contains the file name of this image."""
    marker = f"{_MARKER}-{number}".encode()
    return any(marker in file.read_bytes() for file in service.folder.glob("service.db*"))


@contextlib.contextmanager
def _transaction(service: Target) -> Iterator[None]:
    with contextlib.closing(
        sqlite3.connect(service.folder / "service.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM images").fetchone()
        yield


@contextlib.contextmanager
def _slow_csv(service: Target) -> Iterator[None]:
    """Hold a connection that reads only the start of a response larger than all buffers."""
    crowd = images.tiled_faces(_CROWD_SIDE * images.FACE)
    query = f"file_name={quote(_LONG_NAME)}"
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        list(pool.map(lambda _: service.post(crowd, query), range(_CROWDS)))
    size = len(service.request("GET", "/v1/faces", headers={"Accept": "text/csv"}).body)
    if size < _CSV_BYTES:
        raise RuntimeError(f"the CSV has {size} bytes, expected at least {_CSV_BYTES}")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(service.address)
        connection.sendall(service.head("GET", "/v1/faces", "Accept: text/csv") + b"\r\n")
        if not connection.recv(64).startswith(b"HTTP/1.1 200 "):
            raise RuntimeError("the request for CSV was not answered 200")
        service.wait_until_idle(20)  # until the buffers are full
        yield


def _rejected_posts(service: Target) -> list[int]:
    """Post until POSTS posts are answered 503. Return all statuses."""
    statuses: list[int] = []

    def post() -> None:
        while statuses.count(UNAVAILABLE) < POSTS and len(statuses) < _MAX_POSTS:
            statuses.append(service.post().status)

    threads = [threading.Thread(target=post) for _ in range(_CONCURRENCY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def count_orphans(service: Target, images_dir: Path) -> tuple[int, int]:
    """Count files without an image and images without a file.

    The service has _CLEAN_UP_SECONDS to clean up; the smallest counts are returned.
    """
    minimum = (_MAX_POSTS, _MAX_POSTS)
    for _ in poll(_CLEAN_UP_SECONDS, every=1.0):
        files = sum(path.is_file() for path in images_dir.rglob("*"))
        file_statuses = [
            service.request("GET", f"/v1/images/{image['id']}/picture").status
            for image in service.images()
        ]
        with_file = file_statuses.count(OK)
        minimum = min(minimum, (files - with_file, len(file_statuses) - with_file))
        if minimum == (0, 0):
            break
    return minimum


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

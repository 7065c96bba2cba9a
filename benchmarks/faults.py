"""Nothing accepted is lost: load while things break, and a count of what is stored afterwards.

    make faults
    python -m benchmarks.faults --posts 2000 --faults killed restarted full stopped

So many clients at a time post pictures, each with a name and an Idempotency-Key of its own, and
again until each has its 201. Meanwhile

- killed: a random worker is killed (SIGKILL) every second;
- restarted: the service is stopped as an operator does (SIGTERM) and started again;
- full: the disk that SQLite writes to is full for some seconds (a small tmpfs; needs root);
- stopped: PostgreSQL is stopped for ten seconds (a server of its own, from Debian's packages).

Afterwards every 201 must be stored once and whole, its picture too, and nothing else. Clients may
have seen 201, 503 with Retry-After, or a connection that was closed or silent for a minute. A file
without an image is allowed only while its removal is scheduled in the database, and `retention run`
must remove it. /readyz is asked all the while.
"""

import argparse
import base64
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests
from sqlalchemy import create_engine, text

from app.settings import ROOT
from testbed.markdown import table
from testbed.service import Service

PICTURE = (ROOT / "docs" / "astronaut.jpg").read_bytes()
CONCURRENCY = 8
PATIENCE_SECONDS = 120.0
# The kernel accepts connections for a worker that died; they are silent until another one starts.
UNANSWERED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
CLOSED = "closed"
PICTURES_KEY = base64.b64encode(bytes(32)).decode()
STOPPED_SECONDS = 10.0
FULL_SECONDS = 5.0
TMPFS_MEGABYTES = 24


@dataclass
class Outcome:
    """What clients saw (answers by kind), and of each picture that got its 201 the id and the
    number of faces that the answer named. `ready`: what /readyz answered, by kind."""

    seen: Counter[str] = field(default_factory=Counter)
    ready: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, tuple[int, int]] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """`stored` rows of images; `lost` have a 201 and no row with its id and name; `doubled` names
    have several rows; `torn` rows lack faces, emotions or their picture; `unasked` rows have no
    201; `waiting` files belong to no image and are scheduled to be removed; `strays` are other
    files that belong to no image."""

    stored: int
    lost: int
    doubled: int
    torn: int
    unasked: int
    waiting: int
    strays: int

    @property
    def well(self) -> bool:
        return not (self.lost or self.doubled or self.torn or self.unasked or self.strays)


def load(url: str, posts: int, outcome: Outcome) -> None:
    """Post until every picture has its 201, or nobody answered it for PATIENCE_SECONDS."""
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(lambda number: _insist(url, f"{number}.jpg", outcome), range(posts)))


def _insist(url: str, name: str, outcome: Outcome) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = requests.post(
                f"{url}/v1/images", files={"image": (name, PICTURE)}, headers=headers, timeout=60
            )
            document = answer.json()
        except UNANSWERED:
            outcome.seen[CLOSED] += 1
            time.sleep(0.1)
            continue
        kind = str(answer.status_code)
        if answer.status_code == 503:
            kind += "" if "Retry-After" in answer.headers else " without Retry-After"
        outcome.seen[kind] += 1
        if answer.status_code == 201:
            outcome.accepted[name] = (document["id"], len(document["faces"]))
            return
        time.sleep(0.2)  # sooner than it asks for, to press harder
    outcome.given_up.append(name)


def watch(url: str, outcome: Outcome) -> None:
    try:
        kind = str(requests.get(f"{url}/readyz", timeout=60).status_code)
    except UNANSWERED:
        kind = CLOSED
    outcome.ready[kind] += 1


def judge(database: str, outcome: Outcome, pictures: Path) -> Verdict:
    """Look into the database and the folder of `pictures` themselves, with no code of the
    service."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        images = connection.execute(text("SELECT id, file_name, picture_file FROM images")).all()
        scheduled = set(connection.execute(text("SELECT name FROM file_removals")).scalars())
        faces = Counter(connection.execute(text("SELECT image_id FROM faces")).scalars())
        emotions: dict[int, int] = dict(
            connection.execute(
                text(
                    "SELECT faces.image_id, count(*) FROM emotions"
                    " JOIN faces ON faces.id = emotions.face_id GROUP BY faces.image_id"
                )
            ).all()
        )
    engine.dispose()
    names = Counter(image.file_name for image in images)
    rows = {(image.id, image.file_name) for image in images}
    its_file = {image.id: image.picture_file for image in images}
    files = {path.name for path in pictures.glob("*/*")}
    unowned = files - set(its_file.values())
    torn = sum(
        faces[number] != its_faces
        or emotions.get(number, 0) != 8 * its_faces
        or its_file.get(number) not in files
        for number, its_faces in outcome.accepted.values()
    )
    return Verdict(
        stored=len(images),
        lost=sum((number, name) not in rows for name, (number, _) in outcome.accepted.items()),
        doubled=sum(count > 1 for count in names.values()),
        torn=torn,
        unasked=sum(name not in outcome.accepted for name in names),
        waiting=len(unowned & scheduled),
        strays=len(unowned - scheduled),
    )


def judge_and_clean(service: Service, database: str, outcome: Outcome, pictures: Path) -> Verdict:
    """Judge before and after `retention run`, which must leave no file without an image. `waiting`
    is the number before it."""
    before = judge(database, outcome, pictures)
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:  # make all removals due, as after a minute
        connection.execute(text("UPDATE file_removals SET due_at = '2000-01-01 00:00:00'"))
    engine.dispose()
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "retention", "run"]
    subprocess.run(command, cwd=ROOT, env=service.variables, check=True, capture_output=True)
    after = judge(database, outcome, pictures)
    strays = before.strays + after.strays + after.waiting
    return replace(after, waiting=before.waiting, strays=strays)


def every(seconds: float, do: Callable[[], None], over: threading.Event) -> None:
    """At once, and again so many seconds after it is done."""
    while not over.is_set():
        do()
        over.wait(seconds)


def kill_one(service: Service) -> None:
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(random.choice(service.workers()), signal.SIGKILL)


def restart(service: Service) -> None:
    service.stop()
    service.start()


@contextlib.contextmanager
def killed(folder: Path, over: threading.Event) -> Iterator[tuple[Service, str, threading.Thread]]:
    service = Service(folder)
    breaking = threading.Thread(target=every, args=(1.0, lambda: kill_one(service), over))
    yield service, f"sqlite:///{folder / 'service.db'}", breaking


@contextlib.contextmanager
def restarted(
    folder: Path, over: threading.Event
) -> Iterator[tuple[Service, str, threading.Thread]]:
    service = Service(folder)
    breaking = threading.Thread(target=every, args=(5.0, lambda: restart(service), over))
    yield service, f"sqlite:///{folder / 'service.db'}", breaking


@contextlib.contextmanager
def full(folder: Path, over: threading.Event) -> Iterator[tuple[Service, str, threading.Thread]]:
    disk = folder / "disk"
    disk.mkdir()
    size = f"size={TMPFS_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
    ballast = disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        over.wait(FULL_SECONDS)
        ballast.unlink()

    database = f"sqlite:///{disk / 'service.db'}"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield service, database, threading.Thread(target=every, args=(5.0, fill, over))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextlib.contextmanager
def stopped(folder: Path, over: threading.Event) -> Iterator[tuple[Service, str, threading.Thread]]:
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data = Path(tempfile.mkdtemp(prefix="emotion-faults-"))
    subprocess.run(["chown", "postgres", str(data)], check=True)
    as_postgres = ["runuser", "-u", "postgres", "--"]
    port = "55433"

    def server(*arguments: str) -> None:
        subprocess.run(
            [*as_postgres, str(binaries / "pg_ctl"), "-D", str(data), "-w", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    begin = ["-l", str(data / "log"), "-o", f"-p {port} -k {data} -h 127.0.0.1", "start"]
    subprocess.run(
        [*as_postgres, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "emotion"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server(*begin)

    def interrupt() -> None:
        server("-m", "fast", "stop")
        time.sleep(STOPPED_SECONDS)  # also when the load is over: it must be there to be counted
        server(*begin)

    database = f"postgresql://emotion@127.0.0.1:{port}/postgres"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield service, database, threading.Thread(target=every, args=(10.0, interrupt, over))
    finally:
        server("-m", "immediate", "stop")
        subprocess.run(["rm", "-rf", str(data)], check=True)


FAULTS = {"killed": killed, "stopped": stopped, "restarted": restarted, "full": full}


def run(fault: str, posts: int) -> tuple[Outcome, Verdict, float]:
    """Break it while `posts` pictures come; what clients saw, what is stored, and the seconds."""
    outcome, over = Outcome(), threading.Event()
    with (
        tempfile.TemporaryDirectory() as name,
        FAULTS[fault](Path(name), over) as (service, database, breaking),
    ):
        pictures = Path(name) / "pictures"
        service.variables |= {
            "EMOTION_KEEP_PICTURES": "true",
            "EMOTION_PICTURES_DIR": str(pictures),
            "EMOTION_PICTURES_KEY": PICTURES_KEY,
        }
        service.start()
        began = time.monotonic()
        watching = threading.Thread(
            target=every, args=(0.5, lambda: watch(service.url, outcome), over)
        )
        breaking.start()
        watching.start()
        try:
            load(service.url, posts, outcome)
        finally:
            over.set()
            breaking.join()
            watching.join()
            seconds = time.monotonic() - began
            service.stop()
        return outcome, judge_and_clean(service, database, outcome, pictures), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    rows, well = [], True
    for fault in arguments.faults:
        outcome, verdict, seconds = run(fault, arguments.posts)
        seen = outcome.seen
        others = {kind: n for kind, n in seen.items() if kind not in ("201", "503", CLOSED)}
        well = well and verdict.well and not others and not outcome.given_up
        rows.append(
            [
                fault,
                *(arguments.posts, seen["201"], seen["503"], seen[CLOSED], others or 0),
                *(verdict.stored, verdict.lost, verdict.doubled, verdict.torn, verdict.unasked),
                verdict.waiting,
                verdict.strays,
                ", ".join(f"{n} × {kind}" for kind, n in sorted(outcome.ready.items())),
                f"{seconds:.0f}",
            ]
        )
        print(rows[-1], file=sys.stderr, flush=True)
    head = ["fault", "pictures", "201", "503", "closed", "others"]
    head += [
        "stored",
        "lost",
        "doubled",
        "torn",
        "unasked",
        "waiting",
        "strays",
        "readyz",
        "seconds",
    ]
    print(table(head, [[str(cell) for cell in row] for row in rows]))
    if not well:
        raise SystemExit("something was lost, doubled, torn or answered otherwise")


if __name__ == "__main__":
    main()

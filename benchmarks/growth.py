"""How reading slows down as the store grows: every documented query, first page and deep page.

    make bench-growth
    python -m benchmarks.growth --images 10000 100000 --postgres postgresql://…

Fills a fresh SQLite file, or the empty database that --postgres names, with images of three faces
each, as many a day as make the largest size in a year, and asks for the answers through the
application itself (no server between). A page is deep when half of the images come before it; as
many match each filter that already the smallest size fills it. Prints p50 and p95 in milliseconds
at each size with the ratio to the smallest, and how the database answers at the largest.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import event, text

from app import create_app
from app.settings import Settings
from app.store.cursor import encode_cursor
from app.store.tables import db
from app.store.tallies import add_settled
from app.store.transactions import transaction
from evaluation.markdown import table

SIZES = (10_000, 100_000, 1_000_000)
FACES = 3
EMOTIONS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
)  # fmt: skip
# Of a thousand faces, how many show each: as in photographs, few are rare.
OF_A_THOUSAND = (400, 300, 100, 95, 80, 5, 10, 10)
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
AT_ONCE = 50_000  # images that are filled in by one transaction
ASKED = 25  # times each question

_SERIES = {
    "postgresql": "SELECT generate_series(CAST(:low AS bigint), CAST(:high AS bigint)) AS n",
    "sqlite": "WITH RECURSIVE series(n) AS (SELECT :low UNION ALL SELECT n + 1 FROM series "
    "WHERE n < :high) SELECT n FROM series",
}
_TIME = {
    "postgresql": "CAST(:first AS timestamp) + :step * n * interval '1 second'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', :first, '+' || (:step * n) || ' seconds')",
}


def fill(low: int, high: int, *, of: int) -> None:
    """Images `low`..`high` of `of` in all, by SQL alone. What a face shows follows from its number,
    by a multiplication that scatters (Knuth's), so every run stores the same."""
    dialect = db.engine.dialect.name
    series, moment = _SERIES[dialect], _TIME[dialect]
    scattered = "((f.id * 2654435761) % 1000)"
    bounds = np.cumsum(OF_A_THOUSAND)
    whens = " ".join(
        f"WHEN {scattered} < {bound} THEN '{name}'"
        for name, bound in zip(EMOTIONS, bounds, strict=True)
    )
    sure = "(0.5 + ((f.id * 40503) % 500) / 1000.0)"
    emotions = " UNION ALL ".join(
        f"SELECT {position} AS position, '{name}' AS emotion"
        for position, name in enumerate(EMOTIONS)
    )
    values: dict[str, Any] = {"step": YEAR.total_seconds() / of}
    values["first"] = FIRST_DAY.replace(tzinfo=None).isoformat(" ")
    statements = (
        f"INSERT INTO images (id, created_at, file_name, threshold, width, height, face_count, "
        f"model_name, model_version, model_sha256, detector, dropped, timings_ms) "
        f"SELECT n, {moment}, 'camera-' || (n % 100) || '.jpg', 0.5, 640, 480, {FACES}, "
        f"CASE WHEN n % 100 = 0 THEN 'custom_net_5' ELSE 'custom_net_8' END, '1.2.0', "
        f"'{'0' * 64}', 'haar', '{{}}', '{{}}' FROM ({series}) AS s",
        f"INSERT INTO faces (id, image_id, number, x1, y1, x2, y2, detection_score, dominant) "
        f"SELECT f.id, f.image_id, f.number, 10, 10, 90, 90, 0.9, CASE {whens} END FROM "
        f"(SELECT n AS id, (n - 1) / {FACES} + 1 AS image_id, (n - 1) % {FACES} + 1 AS number "
        f"FROM ({series}) AS s) AS f",
        f"INSERT INTO emotions (face_id, position, emotion, probability) "
        f"SELECT f.id, e.position, e.emotion, CASE WHEN e.emotion = f.dominant THEN {sure} "
        f"ELSE (1 - {sure}) / {len(EMOTIONS) - 1} END "
        f"FROM faces AS f CROSS JOIN ({emotions}) AS e WHERE f.id BETWEEN :low AND :high",
    )
    with db.engine.connect() as connection:
        if dialect == "sqlite":  # pages of the indexes are met again and again
            connection.execute(text("PRAGMA cache_size = -1000000"))
        for first in range(low, high + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, high)
            for statement, each in zip(statements, (1, FACES, FACES), strict=True):
                ends = {"low": (first - 1) * each + 1, "high": last * each}
                connection.execute(text(statement), values | ends)
            connection.commit()
    db.engine.dispose()  # the next connection has the cache that the service gives it


def sum_up() -> None:
    """What the service does at every 256th image, for those that were filled in."""
    with transaction():
        while add_settled(datetime.now(UTC)):
            pass


def questions(images: int, *, of: int) -> dict[str, str]:
    """A name and a path for everything that reading offers, with `images` of `of` stored."""
    filled = YEAR * images / of
    middle = FIRST_DAY + filled / 2
    deep_id = images // 2
    day = f"since={_stamp(middle)}&until={_stamp(middle + timedelta(days=1))}"
    filters = {
        "": "",
        "emotion=neutral (40 %)": "emotion=neutral",
        "emotion=contempt (1 %)": "emotion=contempt",
        "emotion=happiness, min_probability=.9": "emotion=happiness&min_probability=0.9",
        "emotion=contempt, min_probability=.9": "emotion=contempt&min_probability=0.9",
        "min_probability=.99": "min_probability=0.99",
        "file_name (1 of 100)": "file_name=camera-7.jpg",
        "model (1 %)": "model=custom_net_5",
        "a day": day,
        "min_faces=3 (all)": "min_faces=3",
        "min_faces=4 (none)": "min_faces=4",
    }
    cursors = {
        "images": encode_cursor(middle, deep_id),
        "faces": encode_cursor(middle, deep_id, 1),
    }
    asked = {"images/{id}": f"/v1/images/{images // 2}"}
    for what, cursor in cursors.items():
        for name, query in filters.items():
            asked[f"{what} {name}, first page"] = f"/v1/{what}?{query}"
            if name != "a day":  # one day has no deep page
                asked[f"{what} {name}, deep page"] = f"/v1/{what}?{query}&cursor={cursor}"
    for by in ("hour", "day", "model"):
        asked[f"summary by {by}, a day"] = f"/v1/summary?by={by}&{day}"
        asked[f"summary by {by}, all"] = f"/v1/summary?by={by}"
    return asked


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def measure(app: Flask, asked: dict[str, str], *, times: int) -> dict[str, tuple[float, float]]:
    """p50 and p95 in milliseconds, the questions taking turns in another order each time, as what
    one leaves behind is cleared away in the time of the next. One that takes more than a second is
    asked three times only."""
    client = app.test_client()
    client.get("/v1/images")  # the first request also builds what all of them use
    took: dict[str, list[float]] = {name: [] for name in asked}
    order, chance = list(asked.items()), np.random.default_rng(0)
    for _ in range(times):
        chance.shuffle(order)
        for name, path in order:
            if len(took[name]) >= 3 and min(took[name]) > 1:
                continue
            start = time.perf_counter()
            answer = client.get(path)
            took[name].append(time.perf_counter() - start)
            if answer.status_code not in (200, 422):
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
    db.session.remove()  # which holds on to the last answer's snapshot
    return {
        name: (1000 * float(np.percentile(each, 50)), 1000 * float(np.percentile(each, 95)))
        for name, each in took.items()
    }


def explain(app: Flask, path: str) -> list[str]:
    """How the database means to answer each statement behind a path, in its own words: lines, the
    first of each statement marked."""
    reads: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        if statement.startswith("SELECT"):
            reads.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    app.test_client().get(path)
    event.remove(db.engine, "before_cursor_execute", note)
    word = "EXPLAIN" if db.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    lines: list[str] = []
    with db.engine.connect() as connection:
        for statement, parameters in reads:
            rows = connection.exec_driver_sql(f"{word} {statement}", parameters)
            plan = [str(row[-1]) for row in rows]
            lines += [f"- {plan[0]}", *(f"  {line}" for line in plan[1:])]
    return lines


@contextmanager
def store(url: str) -> Iterator[Flask]:
    """The application on an empty database at `url`, with its tables."""
    app = create_app(Settings(database_url=url))
    with app.app_context():
        upgrade()
        yield app
        db.session.remove()
        db.engine.dispose()


def compare(url: str, sizes: list[int], *, times: int) -> str:
    """The growth table and the plans of one database."""
    figures: dict[int, dict[str, tuple[float, float]]] = {}
    with store(url) as app:
        name = db.engine.dialect.name
        done = 0
        for size in sizes:
            start = time.perf_counter()
            fill(done + 1, size, of=sizes[-1])
            done = size
            sum_up()
            if name == "postgresql":  # which does so by itself, after a while; SQLite never does
                engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
                with engine.connect() as connection:
                    connection.execute(text("VACUUM ANALYZE"))
            print(f"{name}: {size:,} images after {time.perf_counter() - start:.0f} s", flush=True)
            figures[size] = measure(app, questions(size, of=sizes[-1]), times=times)
        plans = [
            f"{asked}\n    " + "\n    ".join(explain(app, path))
            for asked, path in questions(sizes[-1], of=sizes[-1]).items()
            if "first page" in asked
        ]
    first = figures[sizes[0]]
    rows = [
        [
            asked,
            *(f"{p50:.1f} / {p95:.1f}" for p50, p95 in (figures[size][asked] for size in sizes)),
            f"{figures[sizes[-1]][asked][0] / first[asked][0]:.1f}",
        ]
        for asked in first
    ]
    head = [name, *(f"{size:,}" for size in sizes), "largest / smallest, p50"]
    return "\n".join([table(head, rows), "", *plans])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=SIZES)
    parser.add_argument("--times", type=int, default=ASKED)
    parser.add_argument("--postgres", metavar="URL", help="an empty database, which is filled")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.postgres or f"sqlite:///{Path(folder) / 'growth.db'}"
        print(compare(url, sorted(arguments.images), times=arguments.times))


if __name__ == "__main__":
    main()

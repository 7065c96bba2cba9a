"""How reading slows down as the store grows: every documented query, first page and deep page.

    make bench-growth
    python -m benchmarks.growth --images 10000 100000 --postgres postgresql://…

Fills a store of each size, a fresh SQLite file or a schema of its own in the database that
--postgres names, with images of three faces each, as many a day as make the largest size in a year,
and asks for the answers through the application itself (no server between). The sizes and the
questions take turns, so that a busy neighbour slows all alike. A page is deep when half of the
images come before it; most filters match so many that already the smallest size fills its pages.
Prints p50 and p95 in milliseconds at each size with the ratio to the smallest, and how the database
answers at the largest.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from sqlalchemy import NullPool, create_engine, event, make_url, text

from app import create_app
from app.settings import Settings
from app.store.cursor import encode_cursor
from app.store.migrate import upgrade
from app.store.rollups import add_saved
from app.store.tables import db
from testbed.markdown import table

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


def fill(images: int, *, of: int) -> None:
    """Store the first `images` of `of`, by SQL alone, and sum them up as the service does. What a
    face shows follows from its number, by a multiplication that scatters (Knuth's), so every run
    stores the same."""
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
        f"INSERT INTO faces (id, image_id, number, x1, y1, x2, y2, detection_score, dominant, "
        f"dominant_probability) "
        f"SELECT f.id, f.image_id, f.number, 10, 10, 90, 90, 0.9, CASE {whens} END, {sure} FROM "
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
        for first in range(1, images + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, images)
            for statement, each in zip(statements, (1, FACES, FACES), strict=True):
                ends = {"low": (first - 1) * each + 1, "high": last * each}
                connection.execute(text(statement), values | ends)
            connection.commit()
    db.engine.dispose()  # the next connection has the cache that the service gives it
    while add_saved():
        pass
    if dialect == "postgresql":  # which does so by itself, after a while; SQLite never does
        engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))


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
        "emotion=contempt, min_probability=.4": "emotion=contempt&min_probability=0.4",
        "min_probability=.99": "min_probability=0.99",
        "file_name (1 of 100)": "file_name=camera-7.jpg",
        "model (1 %)": "model=custom_net_5",
        "a day": day,
        "min_faces=3 (all)": "min_faces=3",
        "min_faces=4 (none)": "min_faces=4",
        "file_name and model that never meet": "file_name=camera-7.jpg&model=custom_net_5",
    }
    cursors = {
        "images": encode_cursor(middle, deep_id),
        "faces": encode_cursor(middle, deep_id, 1),
    }
    asked = {
        "images/{id}": f"/v1/images/{images // 2}",
        "images/{id}/mood": f"/v1/images/{images // 2}/mood?aggregator=quality",
        "images with their moods, first page": "/v1/images?mood=quality",
        "summary by hour with moods, a day": f"/v1/summary?by=hour&mood=quality&{day}",
    }
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


def measure(apps: dict[int, Flask], *, times: int) -> dict[tuple[int, str], tuple[float, float]]:
    """p50 and p95 in milliseconds by size and question. They take turns in another order each time,
    as what one leaves behind is cleared away in the time of the next."""
    asked = [
        (size, name, path) for size in apps for name, path in questions(size, of=max(apps)).items()
    ]
    clients = {size: app.test_client() for size, app in apps.items()}
    for client in clients.values():
        client.get("/v1/images")  # the first request also builds what all of them use
    took: dict[tuple[int, str], list[float]] = {(size, name): [] for size, name, _ in asked}
    chance = np.random.default_rng(0)
    for _ in range(times):
        chance.shuffle(asked)
        for size, name, path in asked:
            start = time.perf_counter()
            answer = clients[size].get(path)
            took[size, name].append(time.perf_counter() - start)
            if answer.status_code != 200:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
    return {
        each: (1000 * float(np.percentile(seconds, 50)), 1000 * float(np.percentile(seconds, 95)))
        for each, seconds in took.items()
    }


def explain(app: Flask, path: str) -> list[str]:
    """How the database means to answer each statement behind a path, in its own words: lines, the
    first of each statement marked."""
    reads: list[tuple[str, Any]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        if statement.startswith("SELECT"):
            reads.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    app.test_client().get(path)
    event.remove(engine, "before_cursor_execute", note)
    word = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    lines: list[str] = []
    with engine.connect() as connection:
        for statement, parameters in reads:
            rows = connection.exec_driver_sql(f"{word} {statement}", parameters)
            plan = [str(row[-1]) for row in rows]
            lines += [f"- {plan[0]}", *(f"  {line}" for line in plan[1:])]
    return lines


@contextmanager
def stores(sizes: Sequence[int], urls: Sequence[str]) -> Iterator[dict[int, Flask]]:
    """Applications on the databases at `urls`, in which nothing is yet, one filled to each size."""
    apps: dict[int, Flask] = {}
    for size, url in zip(sizes, urls, strict=True):
        start = time.perf_counter()
        apps[size] = create_app(Settings(database_url=url))
        with apps[size].app_context():
            upgrade()
            fill(size, of=max(sizes))
        print(f"{size:,} images after {time.perf_counter() - start:.0f} s", flush=True)
    try:
        yield apps
    finally:
        for app in apps.values():
            with app.app_context():
                db.engine.dispose()


@contextmanager
def schemas(url: str, sizes: Sequence[int]) -> Iterator[list[str]]:
    """A URL for a new schema for each size in PostgreSQL's database at `url`; gone afterwards."""
    names = [f"growth_{size}" for size in sizes]
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    drop = [text(f"DROP SCHEMA IF EXISTS {name} CASCADE") for name in names]
    create = [text(f"CREATE SCHEMA {name}") for name in names]
    try:
        with engine.begin() as connection:
            for statement in [*drop, *create]:
                connection.execute(statement)
        searched = [{"options": f"-csearch_path={name}"} for name in names]
        yield [
            make_url(url).update_query_dict(query).render_as_string(hide_password=False)
            for query in searched
        ]
    finally:
        with engine.begin() as connection:
            for statement in drop:
                connection.execute(statement)


def compare(database: str, sizes: Sequence[int], urls: Sequence[str], *, times: int) -> str:
    """The growth table and the plans of one kind of database."""
    largest = max(sizes)
    with stores(sizes, urls) as apps:
        figures = measure(apps, times=times)
        plans = [
            "\n    ".join([asked, *explain(apps[largest], path)])
            for asked, path in questions(largest, of=largest).items()
            if "deep page" not in asked
        ]
    rows = [
        [
            asked,
            *(f"{p50:.1f} / {p95:.1f}" for p50, p95 in (figures[size, asked] for size in sizes)),
            f"{figures[largest, asked][0] / figures[min(sizes), asked][0]:.1f}",
        ]
        for asked in questions(largest, of=largest)
    ]
    head = [database, *(f"{size:,}" for size in sizes), "largest / smallest, p50"]
    return "\n".join([table(head, rows), "", *plans])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=SIZES)
    parser.add_argument("--times", type=int, default=ASKED)
    parser.add_argument("--postgres", metavar="URL", help="a database to use instead of SQLite")
    arguments = parser.parse_args()
    sizes = sorted(arguments.images)
    if arguments.postgres:
        with schemas(arguments.postgres, sizes) as urls:
            print(compare("postgresql", sizes, urls, times=arguments.times))
    else:
        with tempfile.TemporaryDirectory() as folder:
            urls = [f"sqlite:///{Path(folder) / f'{size}.db'}" for size in sizes]
            print(compare("sqlite", sizes, urls, times=arguments.times))


if __name__ == "__main__":
    main()

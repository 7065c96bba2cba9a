"""Databases with many synthetic images for benchmarks.growth, filled by SQL statements."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from flask import Flask
from sqlalchemy import NullPool, create_engine, insert, make_url, text

from app import create_app
from app.settings import Settings
from app.store.migrate import upgrade
from app.store.rollups import add_new_images
from app.store.tables import PersonModelRow, db

FACES = 3
EMOTIONS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
)  # fmt: skip
# The number of faces with each emotion per thousand faces. As in photographs, some are rare.
FACES_PER_THOUSAND = (400, 300, 100, 95, 80, 5, 10, 10)
# The number of persons with each category per thousand, as in EMOTIC's training images, minimum 10.
PERSONS_PER_THOUSAND = {
    "Affection": 50, "Anger": 10, "Annoyance": 10, "Anticipation": 230, "Aversion": 10,
    "Confidence": 170, "Disapproval": 10, "Disconnection": 60, "Disquietment": 20,
    "Doubt/Confusion": 30, "Embarrassment": 10, "Engagement": 550, "Esteem": 40,
    "Excitement": 190, "Fatigue": 20, "Fear": 10, "Happiness": 240, "Pain": 10, "Peace": 70,
    "Pleasure": 90, "Sadness": 20, "Sensitivity": 10, "Suffering": 10, "Surprise": 20,
    "Sympathy": 30, "Yearning": 30,
}  # fmt: skip
FRAMES = 10_000  # per job; every image is a frame
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
BATCH = 50_000  # images per transaction

_SERIES = {
    "postgresql": "SELECT generate_series(CAST(:low AS bigint), CAST(:high AS bigint)) AS n",
    "sqlite": "WITH RECURSIVE series(n) AS (SELECT :low UNION ALL SELECT n + 1 FROM series "
    "WHERE n < :high) SELECT n FROM series",
}
_TIME = {
    "postgresql": "CAST(:first AS timestamp) + :step * n * interval '1 second'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', :first, '+' || (:step * n) || ' seconds')",
}


@contextmanager
def stores(sizes: Sequence[int], urls: Sequence[str]) -> Iterator[dict[int, Flask]]:
    """Fill the empty databases at `urls` to the sizes. Yield an application for each size."""
    apps: dict[int, Flask] = {}
    for size, url in zip(sizes, urls, strict=True):
        start = time.perf_counter()
        apps[size] = create_app(Settings(database_url=url))
        with apps[size].app_context():
            upgrade()
            fill(size, total=max(sizes))
        print(f"{size:,} images after {time.perf_counter() - start:.0f} s", flush=True)
    try:
        yield apps
    finally:
        for app in apps.values():
            with app.app_context():
                db.engine.dispose()


@contextmanager
def schemas(url: str, sizes: Sequence[int]) -> Iterator[list[str]]:
    """Create a schema for each size in the PostgreSQL database at `url`. Yield their URLs.

    The schemas are dropped afterwards.
    """
    names = [f"growth_{size}" for size in sizes]
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    drop = [text(f"DROP SCHEMA IF EXISTS {name} CASCADE") for name in names]
    create = [text(f"CREATE SCHEMA {name}") for name in names]
    try:
        with engine.begin() as connection:
            for statement in [*drop, *create]:
                connection.execute(statement)
        options = [{"options": f"-csearch_path={name}"} for name in names]
        yield [
            make_url(url).update_query_dict(query).render_as_string(hide_password=False)
            for query in options
        ]
    finally:
        with engine.begin() as connection:
            for statement in drop:
                connection.execute(statement)


def fill(images: int, *, total: int) -> None:
    """Store `images` images and add them to the rollups as the service does.

    They are the first of `total` images, which are spread evenly over a year.

    Values are multiplicative hashes (Knuth) of the ids of faces and persons, so every run stores
    the same rows.
    """
    dialect = db.engine.dialect.name
    values: dict[str, Any] = {"step": YEAR.total_seconds() / total}
    values["first"] = FIRST_DAY.replace(tzinfo=None).isoformat(" ")
    statements = _statements(dialect)
    with db.engine.connect() as connection:
        if dialect == "sqlite":  # the inserts read the same index pages repeatedly
            connection.execute(text("PRAGMA cache_size = -1000000"))
        connection.execute(
            insert(PersonModelRow),
            {
                "id": 1,
                "digest": "1" * 64,
                "name": "context",
                "version": "1.0.0",
                "sha256": "1" * 64,
                "thresholds": {
                    name: 1 - count / 1000 for name, count in PERSONS_PER_THOUSAND.items()
                },
            },
        )
        for first in range(1, images + 1, BATCH):
            last = min(first + BATCH - 1, images)
            for statement, each in statements:
                ends = {"low": (first - 1) * each + 1, "high": last * each}
                connection.execute(text(statement), values | ends)
            connection.commit()
    db.engine.dispose()  # The next connection has the cache size of the service.
    while add_new_images():
        pass
    if dialect == "postgresql":  # PostgreSQL would analyse the tables later, SQLite never
        engine = db.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _statements(dialect: str) -> list[tuple[str, int]]:
    """INSERT statements, each with the number of its rows (ids) per image."""
    series, moment = _SERIES[dialect], _TIME[dialect]
    hashed = "((f.id * 2654435761) % 1000)"
    cases = " ".join(
        f"WHEN {hashed} < {bound} THEN '{name}'"
        for name, bound in zip(EMOTIONS, np.cumsum(FACES_PER_THOUSAND), strict=True)
    )
    probability = "(0.5 + ((f.id * 40503) % 500) / 1000.0)"
    emotions = " UNION ALL ".join(
        f"SELECT {position} AS position, '{name}' AS emotion"
        for position, name in enumerate(EMOTIONS)
    )
    categories = " UNION ALL ".join(
        f"SELECT {position} AS position, '{name}' AS category, {1000 - count} AS threshold"
        for position, (name, count) in enumerate(PERSONS_PER_THOUSAND.items())
    )
    score = "((p.id * 2654435761 + c.position * 40503) % 1000)"
    images = (
        f"INSERT INTO images (id, created_at, file_name, threshold, width, height, face_count, "
        f"model_name, model_version, model_sha256, detector, dropped, timings_ms, person_count, "
        f"person_model_id, job_id, frame_index, position_ms) "
        f"SELECT n, {moment}, 'camera-' || (n % 100) || '.jpg', 0.5, 640, 480, {FACES}, "
        f"CASE WHEN n % 100 = 0 THEN 'custom_net_5' ELSE 'custom_net_8' END, '1.2.0', "
        f"'{'0' * 64}', 'haar', '{{}}', '{{}}', 1, 1, 'job-' || (n / {FRAMES}), n % {FRAMES}, "
        f"200 * (n % {FRAMES}) FROM ({series}) AS s"
    )
    faces = (
        f"INSERT INTO faces (id, image_id, number, x1, y1, x2, y2, detection_score, dominant, "
        f"dominant_probability) "
        f"SELECT f.id, f.image_id, f.number, 10, 10, 90, 90, 0.9, CASE {cases} END, {probability} "
        f"FROM (SELECT n AS id, (n - 1) / {FACES} + 1 AS image_id, (n - 1) % {FACES} + 1 AS number "
        f"FROM ({series}) AS s) AS f"
    )
    of_faces = (
        f"INSERT INTO emotions (face_id, position, emotion, probability) "
        f"SELECT f.id, e.position, e.emotion, CASE WHEN e.emotion = f.dominant THEN {probability} "
        f"ELSE (1 - {probability}) / {len(EMOTIONS) - 1} END "
        f"FROM faces AS f CROSS JOIN ({emotions}) AS e WHERE f.id BETWEEN :low AND :high"
    )
    persons = (
        f"INSERT INTO persons (id, image_id, number, x1, y1, x2, y2, detection_score, face_number, "
        f"exclusive, valence, arousal, dominance) "
        f"SELECT n, n, 1, 5, 5, 200, 400, 0.9, 1, (1 = 0), 1 + 9 * ((n * 40503) % 1000) / 1000.0, "
        f"1 + 9 * ((n * 7919) % 1000) / 1000.0, 1 + 9 * ((n * 104729) % 1000) / 1000.0 "
        f"FROM ({series}) AS s"
    )
    of_persons = (
        f"INSERT INTO categories (person_id, position, category, score, shown) "
        f"SELECT p.id, c.position, c.category, {score} / 1000.0, {score} >= c.threshold "
        f"FROM persons AS p CROSS JOIN ({categories}) AS c WHERE p.id BETWEEN :low AND :high"
    )
    return [(images, 1), (faces, FACES), (of_faces, FACES), (persons, 1), (of_persons, 1)]

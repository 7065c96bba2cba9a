"""Measure query times as the store grows: every documented query, first page and deep page.

    make bench-growth
    python -m benchmarks.growth --images 10000 100000 --postgres postgresql://…

The benchmark fills a store of each size: a new SQLite file, or a separate schema in the database of
--postgres. Images have three faces and one person each and are spread evenly over a year at the
largest size. Queries go through the application without a server, or through functions of the store
where no endpoint exists yet. Sizes and queries take turns, so other load slows all of them equally.
A page is deep if half of the images come before it. Most filters match enough images to fill a page
at the smallest size. The output has p50 and p95 in milliseconds at each size, the ratio of the
largest to the smallest size, and the query plans at the largest size. On a busy machine, --cpu
measures the CPU time of this process instead of the elapsed time. With SQLite, this is the whole
cost of a query except reading from the disk.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from sqlalchemy import event

from app.store.cursor import encode_cursor
from app.store.frames import page_of_frames
from app.store.person_summary import persons_by_span
from app.store.persons import page_of_persons
from app.store.queries import page_of_images
from app.store.records import Filters, PersonFilters
from app.store.tables import db
from benchmarks.growth_stores import FIRST_DAY, FRAMES, YEAR, schemas, stores
from testbed.markdown import table

SIZES = (10_000, 100_000, 1_000_000)
REPETITIONS = 25  # of each query
PAGE = 50

# A path of the API, or a function of the store.
Query = str | Callable[[], object]


def queries(images: int, *, total: int) -> dict[str, Query]:
    """All documented queries by name, for a store with `images` images.

    The largest store has `total` images, spread over a year. A store has the first of them."""
    filled = YEAR * images / total
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
        "file_name and model without a common image": "file_name=camera-7.jpg&model=custom_net_5",
    }
    cursors = {
        "images": encode_cursor(middle, deep_id),
        "faces": encode_cursor(middle, deep_id, 1),
    }
    result: dict[str, Query] = {
        "images/{id}": f"/v1/images/{images // 2}",
        "images/{id}/mood": f"/v1/images/{images // 2}/mood?aggregator=quality",
        "images with their moods, first page": "/v1/images?mood=quality",
        "summary by hour with moods, a day": f"/v1/summary?by=hour&mood=quality&{day}",
    }
    for what, cursor in cursors.items():
        for name, query in filters.items():
            title = f"{what} {name}".strip()
            result[f"{title}, first page"] = f"/v1/{what}?{query}"
            if name != "a day":  # one day has no deep page
                result[f"{title}, deep page"] = f"/v1/{what}?{query}&cursor={cursor}"
    for by in ("hour", "day", "model"):
        result[f"summary by {by}, a day"] = f"/v1/summary?by={by}&{day}"
        result[f"summary by {by}, all"] = f"/v1/summary?by={by}"
    return result | _queries_of_persons(middle, deep_id) | _queries_of_jobs(images)


def _queries_of_persons(middle: datetime, deep_id: int) -> dict[str, Query]:
    day = Filters(since=middle, until=middle + timedelta(days=1))
    filters = {
        "": Filters(),
        "category=Engagement (55 %)": _persons(category="Engagement"),
        "category=Pain (1 %)": _persons(category="Pain"),
        "category=Happiness, min_score=.9": _persons(category="Happiness", min_score=0.9),
        "category=Pain, min_score=.999": _persons(category="Pain", min_score=0.999),
        "min_valence=5.5 (50 %)": _persons(min_valence=5.5),
        "min_valence=9.98 (.2 %)": _persons(min_valence=9.98),
        "min_valence=8, max_arousal=3": _persons(min_valence=8, max_arousal=3),
        "category=Peace, min_dominance=8": _persons(category="Peace", min_dominance=8),
        "a day": day,
    }
    pages: dict[str, tuple[Callable[..., object], str]] = {
        "images": (page_of_images, encode_cursor(middle, deep_id)),
        "persons": (page_of_persons, encode_cursor(middle, deep_id, 1)),
    }
    result: dict[str, Query] = {}
    for what, (page, cursor) in pages.items():
        for name, chosen in filters.items():
            if what == "images" and chosen.persons == PersonFilters():
                continue  # runs through the API
            first = partial(page, chosen, size=PAGE, cursor=None)
            title = f"{what} {name}".strip()
            result[f"{title}, first page"] = first
            if name != "a day":
                deep = partial(page, chosen, size=PAGE, cursor=cursor)
                result[f"{title}, deep page"] = deep
    result["persons by day, a day"] = partial(persons_by_span, day, by="day")
    result["persons by model, all"] = partial(persons_by_span, Filters(), by="model")
    return result


def _persons(**filters: Any) -> Filters:
    return Filters(persons=PersonFilters(**filters))


def _queries_of_jobs(images: int) -> dict[str, Query]:
    middle = min(images, FRAMES) // 2
    return {
        "frames of a job, first page": partial(page_of_frames, "job-0", size=PAGE),
        "frames of a job, deep page": partial(page_of_frames, "job-0", size=PAGE, after=middle),
    }


def run(app: Flask, query: Query) -> None:
    """Run a query. Raises RuntimeError if the API does not answer 200."""
    if isinstance(query, str):
        response = app.test_client().get(query)
        if response.status_code != 200:
            raise RuntimeError(f"{query}: {response.status_code} {response.text[:300]}")
        return
    with app.app_context():
        query()


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def measure(
    apps: dict[int, Flask], *, times: int, clock: Callable[[], float]
) -> dict[tuple[int, str], tuple[float, float]]:
    """p50 and p95 in milliseconds by size and query.

    Queries run in a new random order each time, because a query affects the next one through
    caches.
    """
    runs = [
        (size, name, query)
        for size in apps
        for name, query in queries(size, total=max(apps)).items()
    ]
    for app in apps.values():
        run(app, "/v1/images")  # the first request also initialises the application
    seconds: dict[tuple[int, str], list[float]] = {(size, name): [] for size, name, _ in runs}
    rng = np.random.default_rng(0)
    for _ in range(times):
        for index in rng.permutation(len(runs)):
            size, name, query = runs[index]
            start = clock()
            run(apps[size], query)
            seconds[size, name].append(clock() - start)
    return {
        key: (1000 * float(np.percentile(values, 50)), 1000 * float(np.percentile(values, 95)))
        for key, values in seconds.items()
    }


def explain(app: Flask, query: Query) -> list[str]:
    """The query plans of all SELECT statements of a query, as lines.

    The first line of each statement starts with "- ".
    """
    statements: list[tuple[str, Any]] = []

    def record(_connection, _cursor, statement, parameters, _context, _many):  # type: ignore[no-untyped-def]
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", record)
    run(app, query)
    event.remove(engine, "before_cursor_execute", record)
    keyword = "EXPLAIN" if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    lines: list[str] = []
    with engine.connect() as connection:
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(f"{keyword} {statement}", parameters)
            plan = [str(row[-1]) for row in rows]
            lines += [f"- {plan[0]}", *(f"  {line}" for line in plan[1:])]
    return lines


def compare(
    database: str,
    sizes: Sequence[int],
    urls: Sequence[str],
    *,
    times: int,
    clock: Callable[[], float],
) -> str:
    """The table of times and the query plans of one kind of database."""
    largest = max(sizes)
    with stores(sizes, urls) as apps:
        figures = measure(apps, times=times, clock=clock)
        plans = [
            "\n    ".join([name, *explain(apps[largest], query)])
            for name, query in queries(largest, total=largest).items()
            if "deep page" not in name
        ]
    rows = [
        [
            name,
            *(f"{p50:.1f} / {p95:.1f}" for p50, p95 in (figures[size, name] for size in sizes)),
            f"{figures[largest, name][0] / figures[min(sizes), name][0]:.1f}",
        ]
        for name in queries(largest, total=largest)
    ]
    head = [database, *(f"{size:,}" for size in sizes), "largest / smallest, p50"]
    return "\n".join([table(head, rows), "", *plans])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=SIZES, help="sizes of the stores")
    parser.add_argument("--times", type=int, default=REPETITIONS, help="runs of each query")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--postgres", metavar="URL", help="URL of a database to use instead of SQLite"
    )
    group.add_argument("--cpu", action="store_true", help="measure CPU time, not elapsed time")
    arguments = parser.parse_args()
    sizes = sorted(arguments.images)
    clock = time.process_time if arguments.cpu else time.perf_counter
    if arguments.postgres:
        with schemas(arguments.postgres, sizes) as urls:
            print(compare("postgresql", sizes, urls, times=arguments.times, clock=clock))
    else:
        with tempfile.TemporaryDirectory() as folder:
            urls = [f"sqlite:///{Path(folder) / f'{size}.db'}" for size in sizes]
            print(compare("sqlite", sizes, urls, times=arguments.times, clock=clock))


if __name__ == "__main__":
    main()

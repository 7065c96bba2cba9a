"""Upgrade and downgrade of databases that the versions of revisions 0007 and 0009 wrote."""

import hashlib
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import MetaData, inspect, select, text

from app.store import queries, summary
from app.store.image_folder import ENCRYPTED, ImageFolder
from app.store.migrate import downgrade, upgrade
from app.store.records import Filters
from app.store.tables import ImageRow, db
from tests.store.test_image_folder import IMAGE

FIXTURE = Path(__file__).parent / "fixtures" / "revision_0009.sql"
REVISION = "0009"


def reflected():
    """Return the tables of the database, in an order in which rows can be inserted."""
    metadata = MetaData()
    metadata.reflect(db.engine)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


@pytest.fixture
def old_database(empty_database_app):
    """The database of the fixture. On PostgreSQL, its rows are copied into new tables."""
    if db.engine.dialect.name == "sqlite":
        path = db.engine.url.database
        db.engine.dispose()
        with sqlite3.connect(path) as connection:
            connection.executescript(FIXTURE.read_text())
        connection.close()
        return
    upgrade(revision=REVISION)
    with sqlite3.connect(":memory:") as source, db.engine.begin() as target:
        source.executescript(FIXTURE.read_text())
        source.row_factory = sqlite3.Row
        for table in reflected():
            target.execute(table.delete())  # the migrations insert a mark
            for row in source.execute(f"SELECT * FROM {table.name}").fetchall():
                columns = ", ".join(row.keys())
                values = ", ".join(f":{name}" for name in row.keys())  # noqa: SIM118 - not a dict
                target.execute(
                    text(f"INSERT INTO {table.name} ({columns}) VALUES ({values})"), dict(row)
                )


def contents(columns=None):
    """Return all rows of all tables, or only the given columns of each table."""
    stored = {}
    with db.engine.connect() as connection:
        for table in reflected():
            if columns is None or table.name in columns:
                chosen = [
                    column
                    for column in table.c
                    if columns is None or column.name in columns[table.name]
                ]
                rows = connection.execute(select(*chosen)).mappings().all()
                stored[table.name] = sorted(map(dict, rows), key=repr)
    return stored


def structure():
    """Return the columns, indexes and constraints of all tables."""
    found = {}
    inspector = inspect(db.engine)
    for name in inspector.get_table_names():
        found[name] = {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(name)
            },
            "indexes": sorted(
                repr((index["name"], index["column_names"], index["unique"], _condition(index)))
                for index in inspector.get_indexes(name)
            ),
            "key": inspector.get_pk_constraint(name),
            "unique": sorted(inspector.get_unique_constraints(name), key=repr),
            "foreign": sorted(inspector.get_foreign_keys(name), key=repr),
        }
    return found


def _condition(index):
    """Return the condition of a partial index as text, because its object has no equality."""
    return {name: str(option) for name, option in index["dialect_options"].items()}


def test_fixture_has_rows_of_all_old_tables(old_database):
    stored = contents()
    assert {name: len(rows) for name, rows in stored.items() if rows} == {
        "emotions": 55,
        "faces": 8,
        "hour_emotions": 13,
        "hours": 2,
        "images": 5,
        "keys": 2,
        "mark": 1,
        "retries": 1,
        "store": 1,
    }
    images = stored["images"]
    assert sorted(image["face_count"] for image in images) == [0, 1, 2, 2, 3]
    assert all(image["picture_file"] for image in images)
    assert stored["mark"][0]["image_id"] < max(image["id"] for image in images)


def test_upgrade_keeps_every_row_and_downgrade_restores_the_database(old_database):
    rows, tables = contents(), structure()
    columns = {name: set(table["columns"]) for name, table in tables.items()}
    upgrade()
    assert contents(columns) == rows
    downgrade(revision=REVISION)
    assert (contents(), structure()) == (rows, tables)


def test_service_reads_the_images_of_the_old_version(old_database):
    upgrade()
    images = queries.page_of_images(Filters(), size=9, cursor=None).items
    assert [(image.file_name, len(image.faces)) for image in images] == [
        ("sad.png", 2),
        ("five.png", 3),
        ("once.png", 1),
        ("none.png", 0),
        ("two.png", 2),
    ]
    assert all(face.emotions.exclusive for image in images for face in image.faces)
    assert all(
        (image.persons, image.person_model, image.frame) == ((), None, None) for image in images
    )
    models = {span.span: span.faces for span in summary.summarise(Filters(), by="model")}
    assert models == {"stub_5": 3, "stub_8": 5}
    aggregated = summary.summarise(Filters(min_faces=0), by="model")
    assert {span.span: span.faces for span in aggregated} == models
    assert queries.erase_matching(Filters(min_faces=0)) == 5


def test_upgrade_adds_the_digests_of_plain_files(empty_database_app, tmp_path):
    app = empty_database_app
    settings = app.extensions["settings"]
    object.__setattr__(settings, "pictures_dir", tmp_path)
    upgrade(revision="0007")
    contents = {"a" * 32: IMAGE, "b" * 32: ENCRYPTED + b"anything", "c" * 32: None}
    with db.engine.begin() as connection:
        for name, data in contents.items():
            connection.execute(
                text(
                    "INSERT INTO images (created_at, file_name, threshold, width, height, "
                    "face_count, model_name, model_version, model_sha256, detector, timings_ms, "
                    "picture_file) VALUES ('2026-01-01 00:00:00', 'a', 0.5, 1, 1, 0, 'm', '1', "
                    "'0', 'd', '{}', :name)"
                ),
                {"name": name},
            )
            if data is not None:
                (tmp_path / name[:2]).mkdir()
                (tmp_path / name[:2] / name).write_bytes(data)
    upgrade()
    found = dict(
        map(tuple, db.session.execute(select(ImageRow.picture_file, ImageRow.picture_sha256)))
    )
    assert found == {
        "a" * 32: hashlib.sha256(IMAGE).hexdigest(),
        "b" * 32: None,
        "c" * 32: None,
    }
    app.extensions["image_store"] = ImageFolder(tmp_path, keeps=False)
    assert queries.image_file(1) == IMAGE

import os

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from app import create_app
from app.settings import Settings
from tests.conftest import need


@pytest.fixture(scope="session")
def postgres_server() -> str:
    url = os.environ.get("TEST_POSTGRES_URL")
    need(url, "no PostgreSQL: TEST_POSTGRES_URL is not set (.ci/services starts one)")
    return str(url)


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database of its own, gone afterwards."""
    name = "emotion_test"
    server = create_engine(
        make_url(postgres_server).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
    )
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_app(request, tmp_path):
    """An application on an empty database of each kind, not migrated yet."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    app = create_app(Settings(database_url=url))
    with app.app_context():
        yield app
        from app.store.tables import db

        db.session.remove()
        db.engine.dispose()

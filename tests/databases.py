"""Database fixtures. Each test gets a copy of a database that was migrated once.

Several test processes can share a PostgreSQL server and a Redis server: the names of PostgreSQL
databases contain the process id, and each xdist worker uses a separate Redis database.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from app import create_app
from app.settings import Settings
from app.store.migrate import upgrade
from app.store.tables import db
from tests.conftest import need

REDIS_DATABASES = 16  # of a Redis server with its default configuration


def _migrate(url: str) -> None:
    with create_app(Settings(database_url=url)).app_context():
        upgrade()
        db.engine.dispose()  # SQLite moves its write-ahead log into the file


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the head revision. Tests copy it because migrating is slow."""
    path = tmp_path_factory.mktemp("database") / "head.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> URL:
    url = os.environ.get("TEST_POSTGRES_URL")
    need(url, "no PostgreSQL: TEST_POSTGRES_URL is not set (.ci/services starts one)")
    return make_url(str(url))


@contextmanager
def _created(server: URL, name: str, template: str | None = None) -> Iterator[str]:
    """Create a PostgreSQL database for the block. Yield the URL."""
    engine = create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    clause = f" TEMPLATE {template}" if template else ""
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}{clause}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with _created(postgres_server, f"emotion_test_{os.getpid()}") as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: URL) -> Iterator[str]:
    name = f"emotion_head_{os.getpid()}"
    with _created(postgres_server, name) as url:
        _migrate(url)
        yield name


@pytest.fixture
def migrated_postgres_url(postgres_server: URL, _postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database at the head revision."""
    name = f"emotion_test_{os.getpid()}"
    with _created(postgres_server, name, template=_postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database at the head revision, for SQLite and for PostgreSQL."""
    if request.param == "postgres":
        return str(request.getfixturevalue("migrated_postgres_url"))
    path = tmp_path / "migrated.db"
    shutil.copy(request.getfixturevalue("migrated_database"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def redis_url() -> str:
    """An empty Redis database."""
    import redis

    url = os.environ.get("TEST_REDIS_URL")
    need(url, "no Redis: TEST_REDIS_URL is not set (.ci/services starts one)")
    server = make_url(str(url))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    number = (int(server.database or 0) + worker) % REDIS_DATABASES
    own_url = server.set(database=str(number)).render_as_string(hide_password=False)
    redis.Redis.from_url(own_url).flushdb()
    return own_url

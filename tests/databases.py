"""Databases for tests: a fresh one for each test, copied from one that was migrated once.

Several test processes may share a PostgreSQL server and a Redis server. The names of their
PostgreSQL databases contain the process id, and each xdist worker uses its own Redis database.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from testbed import database
from tests.conftest import require

REDIS_DATABASES = 16  # the default number of databases of a Redis server


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the head revision. Tests copy it instead of migrating again."""
    path = tmp_path_factory.mktemp("database") / "head.db"
    path.write_bytes(database.migrated_database())
    return path


@pytest.fixture(scope="session")
def postgres_server() -> URL:
    url = os.environ.get("TEST_POSTGRES_URL")
    require(url, "no PostgreSQL: TEST_POSTGRES_URL is not set (.ci/services starts one)")
    return make_url(str(url))


@contextmanager
def _new_database(server: URL, name: str, template: str | None = None) -> Iterator[str]:
    """Create a PostgreSQL database and return its URL. The database is removed afterwards."""
    engine = create_engine(
        server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    template_clause = f" TEMPLATE {template}" if template else ""
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}{template_clause}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """An empty PostgreSQL database."""
    with _new_database(postgres_server, f"emotion_test_{os.getpid()}") as url:
        yield url


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: URL) -> Iterator[str]:
    name = f"emotion_head_{os.getpid()}"
    with _new_database(postgres_server, name) as url:
        database.migrate(url)
        yield name


@pytest.fixture
def migrated_postgres_url(postgres_server: URL, _postgres_template: str) -> Iterator[str]:
    """A PostgreSQL database at the head revision."""
    name = f"emotion_test_{os.getpid()}"
    with _new_database(postgres_server, name, template=_postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database at the head revision: SQLite, and PostgreSQL if a server is available."""
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
    require(url, "no Redis: TEST_REDIS_URL is not set (.ci/services starts one)")
    server = make_url(str(url))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    number = (int(server.database or 0) + worker) % REDIS_DATABASES
    worker_url = server.set(database=str(number)).render_as_string(hide_password=False)
    redis.Redis.from_url(worker_url).flushdb()
    return worker_url

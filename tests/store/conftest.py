import pytest

from app import create_app
from app.settings import Settings
from app.store.tables import db


def _application(url):
    app = create_app(Settings(database_url=url))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_app(request, tmp_path):
    """An application on an empty database of each kind, not migrated yet."""
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    yield from _application(url)


@pytest.fixture
def database_app(database_url):
    """An application on a database of each kind at the head revision."""
    yield from _application(database_url)

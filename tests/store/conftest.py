import pytest

from app import create_app
from app.settings import Settings
from app.store.tables import db


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
        db.session.remove()
        db.engine.dispose()

"""The API with PostgreSQL, in cases where PostgreSQL differs from SQLite."""

import pytest
from sqlalchemy import text

from app.store.tables import db
from tests.api.test_errors import BAD_REQUESTS, assert_problem
from tests.conftest import image_file, upload

pytestmark = pytest.mark.postgres


@pytest.fixture
def client(make_app, migrated_postgres_url):
    app = make_app(database_url=migrated_postgres_url)
    with app.app_context():
        yield app.test_client()
        db.session.remove()
        db.engine.dispose()


def post(client):
    return client.post("/v1/images", data={"image": upload(image_file(50, gray=250))})


def test_bad_requests_get_same_status_as_on_sqlite(client):
    for case, (status, _, method, path, arguments) in BAD_REQUESTS.items():
        response = client.open(path, method=method, **arguments)
        assert response.status_code == status, case


def test_posted_image_is_stored_and_returned(client):
    response = post(client)
    assert response.status_code == 201
    assert client.get(response.location).json == response.json
    assert client.get("/v1/summary?by=hour").json["spans"][0]["images"] == 1


def test_terminated_connection_is_replaced(client):
    assert post(client).status_code == 201
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert post(client).status_code == 201


def test_missing_tables_return_503(make_app, postgres_url):
    app = make_app(database_url=postgres_url)
    for response in (post(app.test_client()), app.test_client().get("/v1/images")):
        assert_problem(response, 503)
    with app.app_context():
        db.engine.dispose()


def test_unreachable_server_returns_503(make_app):
    client = make_app(database_url="postgresql://nobody@127.0.0.1:1/nothing").test_client()
    assert_problem(post(client), 503)
    assert client.get("/readyz").status_code == 503

"""What PostgreSQL answers differently when it is not asked carefully."""

import pytest
from sqlalchemy import text

from app.store.tables import db
from tests.api.test_errors import BAD_REQUESTS, assert_problem
from tests.conftest import picture, upload

pytestmark = pytest.mark.postgres


@pytest.fixture
def client(make_app, migrated_postgres_url):
    app = make_app(database_url=migrated_postgres_url)
    with app.app_context():
        yield app.test_client()
        db.session.remove()
        db.engine.dispose()


def post(client):
    return client.post("/v1/images", data={"image": upload(picture(50, gray=250))})


def test_bad_requests_are_answered_as_on_sqlite(client):
    for what, (status, _, method, path, call) in BAD_REQUESTS.items():
        answer = client.open(path, method=method, **call)
        assert answer.status_code == status, what


def test_a_post_is_stored_and_served(client):
    answer = post(client)
    assert answer.status_code == 201
    assert client.get(answer.location).json == answer.json
    assert client.get("/v1/summary?by=hour").json["spans"][0]["images"] == 1


def test_a_connection_that_was_cut_is_replaced_unnoticed(client):
    assert post(client).status_code == 201
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert post(client).status_code == 201


def test_without_tables_it_is_not_ready_and_says_so(make_app, postgres_url):
    app = make_app(database_url=postgres_url)
    for answer in (post(app.test_client()), app.test_client().get("/v1/images")):
        assert_problem(answer, 503)
    with app.app_context():
        db.engine.dispose()


def test_a_server_that_is_away_is_a_503(make_app):
    client = make_app(database_url="postgresql://nobody@127.0.0.1:1/nothing").test_client()
    assert_problem(post(client), 503)
    assert client.get("/readyz").status_code == 503

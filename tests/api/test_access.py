"""Who may do what: every route against every right, and who is let in without a key."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.api.access import PUBLIC, right_needed
from app.keys import issue
from app.store import keys
from app.store.keys import Right
from tests.conftest import picture, upload

ROUTES = {
    "POST /v1/images": Right.ANALYSE,
    "GET /v1/images": Right.READ,
    "DELETE /v1/images": Right.ERASE,
    "GET /v1/images/{image_id}": Right.READ,
    "DELETE /v1/images/{image_id}": Right.ERASE,
    "GET /v1/images/{image_id}/picture": Right.READ,
    "GET /v1/images/{image_id}/mood": Right.READ,
    "GET /v1/faces": Right.READ,
    "GET /v1/summary": Right.READ,
    "POST /index": Right.ANALYSE,
    "GET /v1/models": PUBLIC,
    "GET /v1/detectors": PUBLIC,
    "GET /v1/pipelines": PUBLIC,
    "GET /metrics": Right.METRICS,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /": PUBLIC,
    "GET /assets/{file_name}": PUBLIC,
    "GET /openapi.json": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/start.js": PUBLIC,
    "GET /docs/assets/{file_name}": PUBLIC,
}
RIGHTS = {route: right for route, right in ROUTES.items() if right != PUBLIC}


def make_key(app, *rights, **more):
    with app.app_context():
        return issue("a test", rights, **more)


def ask(client, route, key=None, **more):
    method, path = route.replace("{image_id}", "1").split()
    path = path.replace("docs/assets/{file_name}", "docs/assets/swagger-ui.css")
    path = path.replace("{file_name}", "main.js")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.open(path, method=method, headers=headers, **more)


def test_every_route_says_which_right_it_needs(app):
    said = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", re.sub(r"\(.*?\)", "", rule.rule))
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            said[f"{method} {path}"] = right_needed(app, rule.endpoint, method)
    assert said == ROUTES


@pytest.mark.parametrize(
    "shown",
    ["", " ", "Bearer", "Bearer ", "Basic \xff", "Basic YTpi", "Bearer \xff", "Digest a", "\xff"],
)
def test_what_is_no_key_is_refused_and_does_no_harm(client, shown):
    answer = client.get("/v1/images", headers={"Authorization": shown})
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("route", RIGHTS)
def test_without_a_key_nobody_is_let_in(app, client, route):
    make_key(app, Right.ADMIN)
    answer = ask(client, route)
    assert answer.status_code == 401
    assert answer.json["type"] == "urn:emotion:problem:missing-key"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("has", list(Right))
@pytest.mark.parametrize("route", RIGHTS)
def test_a_key_may_do_what_its_right_says(app, client, route, has):
    answer = ask(client, route, make_key(app, has))
    if has in (RIGHTS[route], Right.ADMIN):
        assert answer.status_code not in (401, 403)
    else:
        assert answer.status_code == 403
        assert answer.json["type"] == "urn:emotion:problem:missing-right"
        assert RIGHTS[route] in answer.json["detail"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in RIGHTS])
def test_what_is_public_needs_none(app, client, route):
    make_key(app, Right.READ)
    with ask(client, route) as answer:
        assert answer.status_code in (200, 302)


def test_a_route_that_says_nothing_is_for_admins(make_app):
    app = make_app()
    app.add_url_rule("/new", view_func=lambda: "done")
    client = app.test_client()
    assert ask(client, "GET /new", make_key(app, Right.READ, Right.ERASE)).status_code == 403
    assert ask(client, "GET /new", make_key(app, Right.ADMIN)).text == "done"


def test_head_needs_what_get_needs_and_options_nothing(app, client):
    key = make_key(app, Right.ANALYSE)
    assert ask(client, "HEAD /v1/images", key).status_code == 403
    assert ask(client, "OPTIONS /v1/images").status_code == 200


def test_what_does_not_exist_is_404_with_and_without_a_key(app, client):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /nope").status_code == 404
    assert ask(client, "GET /nope", key).status_code == 404
    assert ask(client, "PATCH /v1/images").status_code == 405


def broken(key):
    return {
        "another secret": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "another id": re.sub("_.", "_z", key, count=1),
        "no secret": key.rpartition("_")[0],
        "an empty secret": "_".join(key.split("_")[:2]) + "_",
        "another prefix": "x" + key,
        "longer": key + "A",
        "not ASCII": "emo_ü_ü",
        "long": "emo_" + "a" * 5000,
    }


@pytest.mark.parametrize("what", broken("emo_a_b"))
def test_what_is_no_key_lets_nobody_in(app, client, what):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    answer = ask(client, "GET /v1/images", broken(key)[what])
    assert answer.status_code == 401
    assert answer.json["detail"] == "there is no such key"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "emo_a_b", "Bearer a b"])
def test_a_header_that_is_none_is_said(app, client, header):
    make_key(app, Right.READ)
    answer = client.get("/v1/images", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]


def test_a_wrong_key_is_refused_even_where_none_is_needed(client):
    assert ask(client, "GET /v1/images", "emo_a_b").status_code == 401


def test_a_revoked_key_holds_no_more_from_the_next_request_on(app, client):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    with app.app_context():
        keys.revoke(key.split("_")[1])
    answer = ask(client, "GET /v1/images", key)
    assert (answer.status_code, answer.json["detail"]) == (401, "the key has been revoked")
    assert ask(client, "GET /v1/images").status_code == 401  # and the door stays shut


def test_an_expired_key_holds_no_more(app, client):
    now = datetime.now(UTC)
    good = make_key(app, Right.READ, expires_at=now + timedelta(minutes=1))
    old = make_key(app, Right.READ, expires_at=now - timedelta(seconds=1))
    assert ask(client, "GET /v1/images", good).status_code == 200
    answer = ask(client, "GET /v1/images", old)
    assert (answer.status_code, answer.json["detail"]) == (401, "the key has expired")


def test_nothing_is_analysed_or_kept_for_somebody_who_may_not(app, client):
    reader, admin = make_key(app, Right.READ), make_key(app, Right.ADMIN)
    for key in (None, reader):
        answer = ask(client, "POST /v1/images", key, data={"image": upload(picture())})
        assert answer.status_code in (401, 403)
    assert ask(client, "GET /v1/images", admin).json["images"] == []


FOREIGN = {
    "another machine": {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}},
    "another machine by IPv6": {"environ_overrides": {"REMOTE_ADDR": "2001:db8::7"}},
    "a Unix socket": {"environ_overrides": {"REMOTE_ADDR": ""}},
    "a proxy": {"headers": {"X-Forwarded-For": "192.0.2.7"}},
    "a proxy of today": {"headers": {"Forwarded": "for=192.0.2.7"}},
    "a name made to point here": {"headers": {"Host": "evil.example"}},
    "a page of another site": {"headers": {"Origin": "https://evil.example"}},
    "a page without an origin": {"headers": {"Origin": "null"}},
    "a page of another service here": {"headers": {"Origin": "http://localhost:8080"}},
}
OWN = {
    "this machine": {},
    "this machine by IPv6": {"environ_overrides": {"REMOTE_ADDR": "::1"}},
    "this machine by both": {"environ_overrides": {"REMOTE_ADDR": "::ffff:127.0.0.1"}},
    "by number": {"headers": {"Host": "127.0.0.1:5000"}},
    "by number of six": {"headers": {"Host": "[::1]:5000"}},
    "the service's own page": {
        "headers": {"Host": "localhost:5000", "Origin": "http://localhost:5000"}
    },
}


@pytest.mark.parametrize("who", FOREIGN)
def test_as_long_as_there_is_no_key_others_are_not_let_in(make_app, who):
    assert make_app().test_client().get("/v1/images", **FOREIGN[who]).status_code == 401
    free = make_app(allow_anonymous=True).test_client()
    assert free.get("/v1/images", **FOREIGN[who]).status_code == 200


@pytest.mark.parametrize("who", OWN)
def test_as_long_as_there_is_no_key_this_machine_is(make_app, who):
    assert make_app().test_client().get("/v1/images", **OWN[who]).status_code == 200


def test_where_it_listens_to_others_this_machine_needs_a_key_too(make_app):
    assert make_app(host="0.0.0.0").test_client().get("/v1/images").status_code == 401


def test_the_openapi_document_says_what_each_operation_needs(client):
    document = client.get("/openapi.json").json
    assert document["components"]["securitySchemes"] == {
        "key": {"type": "http", "scheme": "bearer"}
    }
    for route, right in ROUTES.items():
        method, path = route.split()
        if path in document["paths"]:
            operation = document["paths"][path][method.lower()]
            expected = None if right == PUBLIC else [{"key": [right]}]
            assert operation.get("security") == expected, route
            assert ("401" in operation["responses"]) == (right != PUBLIC)

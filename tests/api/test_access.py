"""Access control: the right that every route requires."""

import re

import pytest

from app.api.access import PUBLIC, required_right
from app.store.keys import Right
from tests.api.access import ask, make_key
from tests.conftest import image_file, upload

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
    "GET /v1/aggregators": PUBLIC,
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


def test_each_route_declares_its_required_right(app):
    declared = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", re.sub(r"\(.*?\)", "", rule.rule))
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            declared[f"{method} {path}"] = required_right(app, rule.endpoint, method)
    assert declared == ROUTES


@pytest.mark.parametrize("route", RIGHTS)
def test_protected_route_returns_401_without_key(app, client, route):
    make_key(app, Right.ADMIN)
    response = ask(client, route)
    assert response.status_code == 401
    assert response.json["type"] == "urn:emotion:problem:missing-key"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("right", list(Right))
@pytest.mark.parametrize("route", RIGHTS)
def test_key_allows_only_routes_of_its_right(app, client, route, right):
    response = ask(client, route, make_key(app, right))
    if right in (RIGHTS[route], Right.ADMIN):
        assert response.status_code not in (401, 403)
    else:
        assert response.status_code == 403
        assert response.json["type"] == "urn:emotion:problem:missing-right"
        assert RIGHTS[route] in response.json["detail"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route not in RIGHTS])
def test_public_route_needs_no_key(app, client, route):
    make_key(app, Right.READ)
    with ask(client, route) as response:
        assert response.status_code in (200, 302)


def test_route_without_declared_right_requires_admin(make_app):
    app = make_app()
    app.add_url_rule("/new", view_func=lambda: "done")
    client = app.test_client()
    assert ask(client, "GET /new", make_key(app, Right.READ, Right.ERASE)).status_code == 403
    assert ask(client, "GET /new", make_key(app, Right.ADMIN)).text == "done"


def test_head_requires_right_of_get_and_options_requires_none(app, client):
    key = make_key(app, Right.ANALYSE)
    assert ask(client, "HEAD /v1/images", key).status_code == 403
    assert ask(client, "OPTIONS /v1/images").status_code == 200


def test_unknown_route_returns_404_with_and_without_key(app, client):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /nope").status_code == 404
    assert ask(client, "GET /nope", key).status_code == 404
    assert ask(client, "PATCH /v1/images").status_code == 405


def test_unauthorized_post_stores_nothing(app, client):
    reader, admin = make_key(app, Right.READ), make_key(app, Right.ADMIN)
    for key in (None, reader):
        response = ask(client, "POST /v1/images", key, data={"image": upload(image_file())})
        assert response.status_code in (401, 403)
    assert ask(client, "GET /v1/images", admin).json["images"] == []


def test_openapi_document_lists_right_of_each_operation(client):
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

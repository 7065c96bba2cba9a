"""Pages of other sites, and proxies in front."""

import pytest

from app.settings import SettingError
from tests.conftest import picture, upload

SITE, OTHER = "https://app.example", "https://evil.example"


@pytest.fixture
def open_to_site(make_app):
    return make_app(cors_origins=f"{SITE}, http://localhost:3000").test_client()


def allowed(answer):
    return answer.headers.get("Access-Control-Allow-Origin")


def test_without_origins_no_other_site_may_read(client):
    preflight = client.options(
        "/v1/images", headers={"Origin": SITE, "Access-Control-Request-Method": "POST"}
    )
    assert allowed(preflight) is None
    answer = client.get("/v1/models", headers={"Origin": SITE})
    assert allowed(answer) is None
    assert client.get("/v1/images", headers={"Origin": SITE}).status_code == 401


def test_a_site_that_is_listed_may_ask_and_read(open_to_site):
    preflight = open_to_site.options(
        "/v1/images",
        headers={
            "Origin": SITE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        },
    )
    assert allowed(preflight) == SITE
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    headers = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "idempotency-key"} <= set(headers.split(", "))
    answer = open_to_site.get("/v1/images", headers={"Origin": SITE})
    assert answer.status_code == 200
    assert allowed(answer) == SITE
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.vary


def test_a_site_that_is_not_listed_may_not(open_to_site):
    answer = open_to_site.get("/v1/images", headers={"Origin": OTHER})
    assert answer.status_code == 401
    assert allowed(answer) is None


def test_errors_can_be_read_too(open_to_site):
    answer = open_to_site.post("/v1/images", headers={"Origin": SITE})
    assert answer.status_code == 400
    assert allowed(answer) == SITE


@pytest.mark.parametrize("origin", ["*", "a.example", "https://a.example/path", "null"])
def test_what_is_no_origin_stops_the_start(make_app, origin):
    with pytest.raises(SettingError, match="EMOTION_CORS_ORIGINS"):
        make_app(cors_origins=origin)


FORWARDED = {
    "X-Forwarded-For": "203.0.113.9, 198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "faces.example",
}


def ask_for_address(app):
    seen = []

    def look():
        from flask import request

        seen.append((request.remote_addr, request.host_url))

    app.before_request(look)
    app.test_client().get("/healthz", headers=FORWARDED)
    return seen[0]


def test_what_a_client_says_of_proxies_is_not_believed(make_app):
    assert ask_for_address(make_app()) == ("127.0.0.1", "http://localhost/")


def test_of_one_proxy_in_front_the_last_address_is_believed(make_app):
    assert ask_for_address(make_app(proxies=1)) == ("198.51.100.7", "https://faces.example/")


def test_behind_a_proxy_nobody_is_this_machine(make_app):
    client = make_app(proxies=1).test_client()
    local = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}
    assert client.get("/v1/images", headers=local).status_code == 401


def test_below_a_path_that_a_proxy_names_links_lead_there(make_app):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    below = {"X-Forwarded-Prefix": "/emotion"}
    for _ in range(2):
        answer = client.post("/v1/images", data={"image": upload(picture())}, headers=below)
        assert answer.location == f"/emotion/v1/images/{answer.json['id']}"
    link = client.get("/v1/images?page_size=1", headers=below).headers["Link"]
    assert link.startswith("</emotion/v1/images?page_size=1&cursor=")

"""CORS, and the X-Forwarded headers of proxies."""

import pytest
from flask import request

from app.settings import SettingError
from tests.conftest import image_file, upload

SITE, OTHER = "https://app.example", "https://evil.example"


@pytest.fixture
def client_with_origins(make_app):
    return make_app(cors_origins=f"{SITE}, http://localhost:3000").test_client()


def allowed_origin(response):
    return response.headers.get("Access-Control-Allow-Origin")


def test_cors_allows_no_site_by_default(client):
    preflight = client.options(
        "/v1/images", headers={"Origin": SITE, "Access-Control-Request-Method": "POST"}
    )
    assert allowed_origin(preflight) is None
    response = client.get("/v1/models", headers={"Origin": SITE})
    assert allowed_origin(response) is None
    assert client.get("/v1/images", headers={"Origin": SITE}).status_code == 401


def test_cors_allows_listed_site(client_with_origins):
    preflight = client_with_origins.options(
        "/v1/images",
        headers={
            "Origin": SITE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        },
    )
    assert allowed_origin(preflight) == SITE
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    headers = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "idempotency-key"} <= set(headers.split(", "))
    response = client_with_origins.get("/v1/images", headers={"Origin": SITE})
    assert response.status_code == 200
    assert allowed_origin(response) == SITE
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" in response.vary


def test_cors_rejects_unlisted_site(client_with_origins):
    response = client_with_origins.get("/v1/images", headers={"Origin": OTHER})
    assert response.status_code == 401
    assert allowed_origin(response) is None


def test_cors_headers_are_set_on_errors(client_with_origins):
    response = client_with_origins.post("/v1/images", headers={"Origin": SITE})
    assert response.status_code == 400
    assert allowed_origin(response) == SITE


@pytest.mark.parametrize("origin", ["*", "a.example", "https://a.example/path", "null"])
def test_invalid_origin_fails_startup(make_app, origin):
    with pytest.raises(SettingError, match="EMOTION_CORS_ORIGINS"):
        make_app(cors_origins=origin)


FORWARDED = {"For": "203.0.113.9, 198.51.100.7", "Proto": "https", "Host": "faces.example"}


def observed_request(app, **forwarded):
    """Return (address, host URL, root path) of a request with these X-Forwarded- headers."""
    recorded = []
    app.before_request(
        lambda: recorded.append((request.remote_addr, request.host_url, request.root_path))
    )
    headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    assert app.test_client().get("/healthz", headers=headers).status_code == 200
    return recorded[0]


def test_forwarded_headers_of_clients_are_ignored(make_app):
    assert observed_request(make_app(), **FORWARDED) == ("127.0.0.1", "http://localhost/", "")


def test_last_forwarded_address_is_used_with_one_proxy(make_app):
    expected = ("198.51.100.7", "https://faces.example/", "")
    assert observed_request(make_app(proxies=1), **FORWARDED) == expected


HEADERS = ("For", "Proto", "Host", "Prefix")
INVALID = {
    "For": [
        *("unknown", "_hidden", "evil.example", "1.2.3", "1.2.3.4.5", "fe80::1%lo", "1.2.3.4/8"),
        *(
            "",
            "6.6.6.6, ",
            "unix:",
            "1.2.3.4:x",
            "[1.2.3.4",
            "127.0.0.1 evil",
            "<script>",
            "1.2.3.4:123456",
        ),
    ],
    "Proto": ["javascript", "ftp", "https:", "https://", "http\u00e4", "//"],
    "Host": [
        *("evil.example/path", "user@evil.example", "a b", "evil.example:http", "[::1", "a:99999"),
        *("evil.example?", "evil.example#", "a\\b", "http://evil.example", "[::1%25lo]"),
    ],
    "Prefix": [
        *("//evil.example", "/\\evil.example", "\\\\evil", "https:evil", "https://evil.example"),
        *("%2f%2fevil", "/%2fevil", "/a//b", "/../x", "/a/..", "/a/./b", "evil", "/a?b", "/a#b"),
        *("/a b", "/a;b", "/\u00e4", "/a\tb", '"//evil.example"', "/javascript:x", "/@evil"),
    ],
}


@pytest.mark.parametrize(
    ("header", "value"), [(header, value) for header in INVALID for value in INVALID[header]]
)
@pytest.mark.parametrize("path", ["/v1/images", "/healthz"])
def test_invalid_forwarded_value_returns_400(make_app, header, value, path):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    response = client.get(path, headers={f"X-Forwarded-{header}": value})
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert response.json["detail"].startswith(f"X-Forwarded-{header} must be")
    assert "evil" not in response.text


@pytest.mark.parametrize("header", HEADERS)
def test_forwarded_headers_are_not_checked_without_proxies(client, header):
    response = client.get("/healthz", headers={f"X-Forwarded-{header}": "//evil"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:DB8::7]:4711", "2001:db8::7"),
        ("2001:db8:0::7", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ('"[2001:db8::7]"', "2001:db8::7"),
    ],
)
def test_forwarded_address_is_normalized(make_app, text, address):
    assert observed_request(make_app(proxies=1), For=text)[0] == address


def test_forwarded_prefix_loses_trailing_slash(make_app):
    for prefix, root in (("/a/b_c/~d-1.2/", "/a/b_c/~d-1.2"), ("/", ""), ("", "")):
        assert observed_request(make_app(proxies=1), Prefix=prefix)[2] == root


def test_values_of_outer_proxy_are_used_with_two_proxies(make_app):
    observed = observed_request(
        make_app(proxies=2),
        For="evil, 203.0.113.9, 10.0.0.1",
        Proto="javascript, HTTPS, http",
        Host="//evil, Faces.example:444, inner.example",
        Prefix="//evil, /outer, /inner",
    )
    assert observed == ("203.0.113.9", "https://faces.example:444/", "/outer")


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("value", ["{bad}, {good}", "{good}, {bad}"])
def test_values_of_both_proxies_are_checked(make_app, header, value):
    good = {"For": "1.2.3.4", "Proto": "https", "Host": "a.example", "Prefix": "/a"}[header]
    text = value.format(good=good, bad="//evil")
    response = (
        make_app(proxies=2).test_client().get("/healthz", headers={f"X-Forwarded-{header}": text})
    )
    assert response.status_code == 400


def test_fewer_values_than_proxies_are_ignored(make_app):
    observed = observed_request(make_app(proxies=2), For="203.0.113.9", Prefix="/a")
    assert observed[::2] == ("127.0.0.1", "")


def test_no_client_is_local_behind_a_proxy(make_app):
    client = make_app(proxies=1).test_client()
    local = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}
    assert client.get("/v1/images", headers=local).status_code == 401


def test_links_begin_with_forwarded_prefix(make_app):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    prefix = {"X-Forwarded-Prefix": "/emotion"}
    for _ in range(2):
        response = client.post("/v1/images", data={"image": upload(image_file())}, headers=prefix)
        assert response.location == f"/emotion/v1/images/{response.json['id']}"
    link = client.get("/v1/images?page_size=1", headers=prefix).headers["Link"]
    assert link.startswith("</emotion/v1/images?page_size=1&cursor=")


@pytest.mark.parametrize("prefix", ['/"x', '"/x', '/a, "/b', "/a b", "//host"])
def test_invalid_forwarded_prefix_returns_400(make_app, prefix):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    response = client.get("/v1/images", headers={"X-Forwarded-Prefix": prefix})
    assert response.status_code == 400
    assert "X-Forwarded-Prefix must be" in response.json["detail"]

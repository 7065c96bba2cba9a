"""Pages of other sites, and proxies in front."""

import pytest
from flask import request

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
        seen.append((request.remote_addr, request.host_url))

    app.before_request(look)
    app.test_client().get("/healthz", headers=FORWARDED)
    return seen[0]


def test_what_a_client_says_of_proxies_is_not_believed(make_app):
    assert ask_for_address(make_app()) == ("127.0.0.1", "http://localhost/")


def test_of_one_proxy_in_front_the_last_address_is_believed(make_app):
    assert ask_for_address(make_app(proxies=1)) == ("198.51.100.7", "https://faces.example/")


HEADERS = ("For", "Proto", "Host", "Prefix")
WRONG = {
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
    ("header", "value"), [(header, value) for header in WRONG for value in WRONG[header]]
)
@pytest.mark.parametrize("path", ["/v1/images", "/healthz"])
def test_a_forwarded_value_that_is_none_is_refused(make_app, header, value, path):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    answer = client.get(path, headers={f"X-Forwarded-{header}": value})
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert answer.json["detail"].startswith(f"X-Forwarded-{header} must be")
    assert "evil" not in answer.text


@pytest.mark.parametrize("header", HEADERS)
def test_without_proxies_they_are_not_looked_at(client, header):
    answer = client.get("/healthz", headers={f"X-Forwarded-{header}": "//evil"})
    assert answer.status_code == 200


def look(app, **forwarded):
    """(address, host URL, root path) of a request with these X-Forwarded- headers."""
    seen = []
    app.before_request(
        lambda: seen.append((request.remote_addr, request.host_url, request.root_path))
    )
    headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    assert app.test_client().get("/healthz", headers=headers).status_code == 200
    return seen[0]


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
def test_addresses_are_read_in_the_forms_that_proxies_write(make_app, text, address):
    assert look(make_app(proxies=1), For=text)[0] == address


def test_a_path_is_read_without_the_slash_at_its_end(make_app):
    for prefix, root in (("/a/b_c/~d-1.2/", "/a/b_c/~d-1.2"), ("/", ""), ("", "")):
        assert look(make_app(proxies=1), Prefix=prefix)[2] == root


def test_of_two_proxies_the_outer_ones_values_are_believed(make_app):
    seen = look(
        make_app(proxies=2),
        For="evil, 203.0.113.9, 10.0.0.1",
        Proto="javascript, HTTPS, http",
        Host="//evil, Faces.example:444, inner.example",
        Prefix="//evil, /outer, /inner",
    )
    assert seen == ("203.0.113.9", "https://faces.example:444/", "/outer")


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("value", ["{bad}, {good}", "{good}, {bad}"])
def test_each_of_two_proxies_values_is_checked(make_app, header, value):
    good = {"For": "1.2.3.4", "Proto": "https", "Host": "a.example", "Prefix": "/a"}[header]
    text = value.format(good=good, bad="//evil")
    answer = (
        make_app(proxies=2).test_client().get("/healthz", headers={f"X-Forwarded-{header}": text})
    )
    assert answer.status_code == 400


def test_fewer_values_than_proxies_are_not_believed(make_app):
    assert look(make_app(proxies=2), For="203.0.113.9", Prefix="/a")[::2] == ("127.0.0.1", "")


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


@pytest.mark.parametrize("prefix", ['/"x', '"/x', '/a, "/b', "/a b", "//host"])
def test_a_prefix_that_is_no_path_is_refused(make_app, prefix):
    client = make_app(proxies=1, allow_anonymous=True).test_client()
    answer = client.get("/v1/images", headers={"X-Forwarded-Prefix": prefix})
    assert answer.status_code == 400
    assert "X-Forwarded-Prefix must be" in answer.json["detail"]

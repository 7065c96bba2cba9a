"""Access control: the rights of every route, and requests without a key."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.api.access import PUBLIC, required_right
from app.api.origin import parse_authority
from app.keys import issue
from app.settings import SettingError
from app.store import keys
from app.store.keys import Right
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


def make_key(app, *rights, **options):
    with app.app_context():
        return issue("a test", rights, **options)


def ask(client, route, key=None, **options):
    """Send a request to a route of ROUTES, with image id 1 and an existing file name."""
    method, path = route.replace("{image_id}", "1").split()
    path = path.replace("docs/assets/{file_name}", "docs/assets/swagger-ui.css")
    path = path.replace("{file_name}", "main.js")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.open(path, method=method, headers=headers, **options)


def test_each_route_declares_its_required_right(app):
    declared = {}
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", re.sub(r"\(.*?\)", "", rule.rule))
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            declared[f"{method} {path}"] = required_right(app, rule.endpoint, method)
    assert declared == ROUTES


@pytest.mark.parametrize(
    "header",
    ["", " ", "Bearer", "Bearer ", "Basic \xff", "Basic YTpi", "Bearer \xff", "Digest a", "\xff"],
)
def test_malformed_authorization_header_returns_401_without_keys(client, header):
    response = client.get("/v1/images", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.content_type == "application/problem+json"


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


def wrong_keys(key):
    """Return wrong keys that are similar to `key`, by description."""
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


@pytest.mark.parametrize("case", wrong_keys("emo_a_b"))
def test_unknown_key_returns_401(app, client, case):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    response = ask(client, "GET /v1/images", wrong_keys(key)[case])
    assert response.status_code == 401
    assert response.json["detail"] == "the API key is not valid"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "emo_a_b", "Bearer a b"])
def test_malformed_authorization_header_returns_401_with_keys(app, client, header):
    make_key(app, Right.READ)
    response = client.get("/v1/images", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"]


def test_wrong_key_returns_401_for_local_client(client):
    assert ask(client, "GET /v1/images", "emo_a_b").status_code == 401


def test_revocation_takes_effect_at_next_request(app, client, caplog):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    with app.app_context():
        keys.revoke(key.split("_")[1])
    response = ask(client, "GET /v1/images", key)
    assert (response.status_code, response.json["detail"]) == (401, "the key has been revoked")
    (record,) = [each for each in caplog.records if getattr(each, "event", "") == "ended_key_shown"]
    assert (record.key_id, record.end) == (key.split("_")[1], "revoked")
    assert ask(client, "GET /v1/images").status_code == 401  # anonymous access stays disabled


def test_expired_key_returns_401(app, client):
    now = datetime.now(UTC)
    valid = make_key(app, Right.READ, expires_at=now + timedelta(minutes=1))
    expired = make_key(app, Right.READ, expires_at=now - timedelta(seconds=1))
    assert ask(client, "GET /v1/images", valid).status_code == 200
    response = ask(client, "GET /v1/images", expired)
    assert (response.status_code, response.json["detail"]) == (401, "the key has expired")


def test_unauthorized_post_stores_nothing(app, client):
    reader, admin = make_key(app, Right.READ), make_key(app, Right.ADMIN)
    for key in (None, reader):
        response = ask(client, "POST /v1/images", key, data={"image": upload(image_file())})
        assert response.status_code in (401, 403)
    assert ask(client, "GET /v1/images", admin).json["images"] == []


# Arguments of the test client, by a description of the origin of the request.


def headers(**values):
    return {"headers": {name.replace("_", "-"): value for name, value in values.items()}}


def environment(**values):
    return {"environ_overrides": values}


BASE_URL = {"base_url": "http://127.0.0.1:5000"}
REMOTE = {
    "another machine": environment(REMOTE_ADDR="192.0.2.7"),
    "another machine by IPv6": environment(REMOTE_ADDR="2001:db8::7"),
    "a link-local address": environment(REMOTE_ADDR="fe80::1%lo"),
    "a Unix socket": environment(REMOTE_ADDR=""),
}
PROXY_HEADERS = [
    *("Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    *("X-Forwarded-Server", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forward-For", "Via"),
    *("X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP", "Client-IP"),
    *("CF-Connecting-IP", "CF-Ray", "CDN-Loop", "Fastly-Client-IP", "Fly-Client-IP"),
    *("X-Original-URL", "X-Original-Forwarded-For", "X-Original-Host", "X-Rewrite-URL"),
    *("X-ProxyUser-Ip", "X-Remote-Addr", "X-Originating-IP", "X-Azure-ClientIP", "X-Scheme"),
    *("X-Envoy-External-Address", "X-Amzn-Trace-Id", "Proxy-Connection", "Front-End-Https"),
    *("Ali-CDN-Real-IP", "X-Nf-Client-Connection-Ip", "Tailscale-User-Login", "X-SSL-Client-Cert"),
]
PROXY = {
    **{name: {"headers": {name: "192.0.2.7"}} for name in PROXY_HEADERS},
    **{name.lower(): {"headers": {name.lower(): ""}} for name in ("X-Real-IP", "VIA")},
    "HTTP/1.0": environment(SERVER_PROTOCOL="HTTP/1.0"),
}
CROSS_SITE = {
    "a page of another site": headers(Origin="https://evil.example"),
    "a page without an origin": headers(Origin="null"),
    "an empty origin": headers(Origin=""),
    "a page of another service on this machine": headers(Origin="http://127.0.0.1:8080"),
    "a page of another name of this machine": headers(Origin="http://localhost:5000"),
    "the same host by another scheme": headers(Origin="https://127.0.0.1:5000"),
    "an origin with user info": headers(Origin="http://127.0.0.1:5000@evil.example"),
    "an origin with a path": headers(Origin="http://127.0.0.1:5000/"),
    "two origins": headers(Origin="http://127.0.0.1:5000,https://evil.example"),
    "a form of another site without Origin": headers(Sec_Fetch_Site="cross-site"),
    "an image element of another site": headers(
        Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"
    ),
    "a page of a neighbouring site": headers(Sec_Fetch_Site="same-site"),
    "two values": headers(Sec_Fetch_Site="same-origin,cross-site"),
}
BAD_HOSTS = {
    "a foreign name": {"headers": {"Host": "evil.example:5000"}},
    "a foreign name that begins with localhost": {
        "headers": {"Host": "localhost.evil.example:5000"}
    },
    "this machine as user info": {"headers": {"Host": "127.0.0.1:5000@evil.example"}},
    "user info": {"headers": {"Host": "evil.example@127.0.0.1:5000"}},
    "an IPv6 zone": {"headers": {"Host": "[::1%25evil.example]:5000"}},
    "a path": {"headers": {"Host": "127.0.0.1:5000/evil"}},
    "two Host headers": {"headers": {"Host": "127.0.0.1:5000,evil.example"}},
    "a port that is not a number": {"headers": {"Host": "127.0.0.1:http"}},
    "a port that is too large": {"headers": {"Host": "127.0.0.1:99999"}},
    "an empty host": {"headers": {"Host": ""}},
    "an address as one number": {"headers": {"Host": "2130706433:5000"}},
    "a target of another host": environment(RAW_URI="http://evil.example/v1/images"),
    "a target with user info": environment(RAW_URI="http://127.0.0.1:5000@evil.example/v1/images"),
    "a target that is not a URL": environment(RAW_URI="http://[/v1/images"),
    "a target of another scheme": environment(RAW_URI="gopher://127.0.0.1:5000/v1/images"),
}
WRONG_PORT = {
    "another port": {"headers": {"Host": "127.0.0.1:8080"}},
    "no port": {"headers": {"Host": "localhost"}},
}
FOREIGN = {**REMOTE, **PROXY, **CROSS_SITE, **BAD_HOSTS, **WRONG_PORT}
LOCAL = {
    "IPv4": {},
    "IPv6": environment(REMOTE_ADDR="::1"),
    "IPv4-mapped IPv6": environment(REMOTE_ADDR="::ffff:127.0.0.1"),
    "host name": {"base_url": "http://localhost:5000"},
    "host name in upper case with a dot": {"headers": {"Host": "LocalHost.:5000"}},
    "IPv6 address as host": {"headers": {"Host": "[::1]:5000"}},
    "default port": {"base_url": "http://localhost"},
    "the service's own page": headers(Origin="http://127.0.0.1:5000", Sec_Fetch_Site="same-origin"),
    "the address bar": headers(Sec_Fetch_Site="none"),
    "a target with its host": environment(RAW_URI="HTTP://127.0.0.1:5000/v1/images"),
}


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("LocalHost.", ("localhost", 80)),
        ("[::1]:5000", ("::1", 5000)),
        ("nas_1.local:65535", ("nas_1.local", 65535)),
        *((text, None) for text in ("", ".", ":80", "a:0", "a:65536", "a:+1", "a:", "[:::1]")),
        *((text, None) for text in ("[localhost]", "::1", "a b", "ä", "a/b", "a?b", "a@b", "a\\b")),
    ],
)
def test_parse_authority_accepts_only_host_and_port(text, authority):
    assert parse_authority(text, "http") == authority


def get_images(client, arguments):
    return client.get("/v1/images", **BASE_URL | arguments)


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_request_returns_401_while_no_key_exists(client, case):
    response = get_images(client, FOREIGN[case])
    assert response.status_code == 401
    assert "keys create" in response.json["detail"]


@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_error_names_header_that_reveals_proxy(client, header):
    detail = get_images(client, PROXY[header]).json["detail"]
    assert f"a proxy was detected: header {header}".lower() in detail.lower()
    assert "192.0.2.7" not in detail


def test_valid_key_is_accepted_from_any_origin(app, client):
    key = {"Authorization": f"Bearer {make_key(app, Right.READ)}"}
    for arguments in FOREIGN.values():
        with_key = arguments | {"headers": arguments.get("headers", {}) | key}
        assert get_images(client, with_key).status_code == 200


def test_401_gives_no_details_once_a_key_exists(app, client):
    make_key(app, Right.READ)
    for arguments in ({}, *FOREIGN.values()):
        detail = get_images(client, arguments).json["detail"]
        assert detail == "an API key is required: send the header Authorization: Bearer <key>"


def test_local_client_needs_key_with_proxies_setting(make_app):
    response = get_images(make_app(proxies=1).test_client(), {})
    assert response.status_code == 401
    assert "EMOTION_PROXIES is set" in response.json["detail"]


@pytest.mark.parametrize("case", LOCAL)
def test_local_client_is_allowed_while_no_key_exists(client, case):
    assert get_images(client, LOCAL[case]).status_code == 200


@pytest.fixture
def anonymous(make_app):
    return make_app(
        allow_anonymous=True, host="emotion.example", allowed_hosts="nas.local, Other.Example."
    ).test_client()


NOT_CROSS_SITE = {**REMOTE, **PROXY, **WRONG_PORT, **LOCAL}


@pytest.mark.parametrize("case", NOT_CROSS_SITE)
def test_anonymous_access_allows_remote_clients(anonymous, case):
    assert get_images(anonymous, NOT_CROSS_SITE[case]).status_code == 200


@pytest.mark.parametrize("case", CROSS_SITE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_anonymous_access_rejects_pages_of_other_sites(anonymous, case, method):
    form = {"data": {"image": upload(image_file())}} if method == "POST" else {}
    path = "/v1/images?min_faces=0" if method == "DELETE" else "/v1/images"
    response = anonymous.open(path, method=method, **BASE_URL | CROSS_SITE[case] | form)
    assert response.status_code == 403
    assert response.json["type"] == "urn:emotion:problem:cross-site-request"
    assert "EMOTION_CORS_ORIGINS" in response.json["detail"]
    assert get_images(anonymous, {}).json["images"] == []


@pytest.mark.parametrize("case", BAD_HOSTS)
def test_anonymous_access_rejects_dns_rebinding(anonymous, case):
    response = get_images(anonymous, BAD_HOSTS[case])
    assert response.status_code == 421
    assert response.json["type"] == "urn:emotion:problem:unknown-host"
    assert "EMOTION_ALLOWED_HOSTS" in response.json["detail"]


@pytest.mark.parametrize(
    "host",
    [
        *("192.168.1.5:5000", "[fe80::1]", "0.0.0.0:5000", "localhost:1", "emotion.example"),
        *("nas.local:5000", "NAS.Local", "nas.local.:5000", "other.example"),
    ],
)
def test_anonymous_access_allows_addresses_and_listed_hosts(anonymous, host):
    own_page = {"Host": host, "Origin": f"http://{host.lower()}", "Sec-Fetch-Site": "same-origin"}
    response = anonymous.post("/v1/images", data={"image": upload(image_file())}, headers=own_page)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "names", ["http://nas.local", "nas.local:5000", "*", "*.local", "a b", "a/b"]
)
def test_invalid_host_name_fails_startup(make_app, names):
    with pytest.raises(SettingError, match="EMOTION_ALLOWED_HOSTS"):
        make_app(allowed_hosts=names)


def test_anonymous_access_allows_listed_site(make_app):
    client = make_app(allow_anonymous=True, cors_origins="https://app.example").test_client()
    arguments = headers(Origin="https://app.example", Sec_Fetch_Site="cross-site")
    assert get_images(client, arguments).status_code == 200


def test_error_truncates_and_quotes_client_input(anonymous):
    response = get_images(anonymous, headers(Origin="https://\u00e4" + "a" * 5000))
    assert response.status_code == 403
    assert len(response.json["detail"]) < 500
    assert response.json["detail"].isascii()


WRONG_HEADERS = ["Basic YTpi", "bearer", "emo_a_b", "Bearer a,Bearer b", "Bearer " + "ä" * 8000]


@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_unusual_authorization_header_returns_401(client, header):
    response = get_images(client, {"headers": {"Authorization": header}})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


def test_authorization_scheme_is_case_insensitive(app, client):
    key = make_key(app, Right.READ)
    for scheme in ("bearer", "BEARER", "Bearer  "):
        response = client.get("/v1/images", headers={"Authorization": f"{scheme} {key}"})
        assert response.status_code == 200


def with_wrong_secret(key):
    return {"headers": {"Authorization": f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}"}}


def status_codes(client, arguments, times):
    return [get_images(client, arguments).status_code for _ in range(times)]


def test_wrong_keys_are_limited_and_valid_key_still_works(app, client):
    key = make_key(app, Right.READ)
    valid = {"headers": {"Authorization": f"Bearer {key}"}}
    assert status_codes(client, valid, 1) == [200]
    assert status_codes(client, with_wrong_secret(key), 12) == [401] * 10 + [429] * 2
    response = get_images(client, with_wrong_secret(key))
    assert response.json["type"] == "urn:emotion:problem:too-many-requests"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert status_codes(client, valid, 1) == [200]
    assert status_codes(client, {}, 1) == [401]  # requests without a key are not counted
    other_address = {**with_wrong_secret(key), **environment(REMOTE_ADDR="192.0.2.9")}
    assert status_codes(client, other_address, 1) == [401]


def test_wrong_keys_are_counted_per_ipv6_network(make_app):
    app = make_app(key_failure_limit="2/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        arguments = with_wrong_secret(key) | environment(REMOTE_ADDR=address)
        return get_images(client, arguments).status_code

    assert [ask(f"2001:db8:1:2::{n}") for n in range(3)] == [401, 401, 429]
    # The key id is over the limit now. This blocks only addresses that have sent a wrong key.
    assert [ask(f"::ffff:192.0.2.{n}") for n in (1, 2)] == [401, 401]
    assert ask("::ffff:192.0.2.1") == 429


def test_wrong_keys_are_counted_by_forwarded_address_behind_proxy(make_app):
    app = make_app(proxies=1, key_failure_limit="1/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        arguments = with_wrong_secret(key)
        arguments["headers"]["X-Forwarded-For"] = address
        return get_images(client, arguments).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [401, 429, 401]


def test_empty_failure_limit_disables_counting(make_app):
    app = make_app(key_failure_limit="")
    arguments = with_wrong_secret(make_key(app, Right.READ))
    assert set(status_codes(app.test_client(), arguments, 15)) == {401}


@pytest.mark.parametrize("limit", ["many", "0/minute/x", "10", "0/minute", "1/second; 5/minute"])
def test_invalid_failure_limit_fails_startup(make_app, limit):
    with pytest.raises(SettingError, match="EMOTION_KEY_FAILURE_LIMIT"):
        make_app(key_failure_limit=limit)


def test_local_client_needs_key_if_service_listens_on_all_interfaces(make_app):
    assert make_app(host="0.0.0.0").test_client().get("/v1/images").status_code == 401


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

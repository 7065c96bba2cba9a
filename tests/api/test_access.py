"""Who may do what: every route against every right, and who is let in without a key."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from app.api.access import PUBLIC, right_needed
from app.api.origin import parse_authority
from app.keys import issue
from app.settings import SettingError
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
    assert answer.json["detail"] == "the API key is not valid"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "emo_a_b", "Bearer a b"])
def test_a_header_that_is_none_is_said(app, client, header):
    make_key(app, Right.READ)
    answer = client.get("/v1/images", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"]


def test_a_wrong_key_is_refused_even_where_none_is_needed(client):
    assert ask(client, "GET /v1/images", "emo_a_b").status_code == 401


def test_a_revoked_key_holds_no_more_from_the_next_request_on(app, client, caplog):
    key = make_key(app, Right.READ)
    assert ask(client, "GET /v1/images", key).status_code == 200
    with app.app_context():
        keys.revoke(key.split("_")[1])
    answer = ask(client, "GET /v1/images", key)
    assert (answer.status_code, answer.json["detail"]) == (401, "the key has been revoked")
    (shown,) = [it for it in caplog.records if getattr(it, "event", "") == "ended_key_shown"]
    assert (shown.key_id, shown.end) == (key.split("_")[1], "revoked")
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


def headers(**named):
    return {"headers": {name.replace("_", "-"): value for name, value in named.items()}}


def environment(**named):
    return {"environ_overrides": named}


HERE = {"base_url": "http://127.0.0.1:5000"}
ELSEWHERE = {
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
    "a page of another service here": headers(Origin="http://127.0.0.1:8080"),
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
    "a name made to point here": {"headers": {"Host": "evil.example:5000"}},
    "a name that begins like one of ours": {"headers": {"Host": "localhost.evil.example:5000"}},
    "user info": {"headers": {"Host": "127.0.0.1:5000@evil.example"}},
    "user info of ours": {"headers": {"Host": "evil.example@127.0.0.1:5000"}},
    "an IPv6 zone": {"headers": {"Host": "[::1%25evil.example]:5000"}},
    "a path": {"headers": {"Host": "127.0.0.1:5000/evil"}},
    "two Host headers": {"headers": {"Host": "127.0.0.1:5000,evil.example"}},
    "no number as port": {"headers": {"Host": "127.0.0.1:http"}},
    "too large a port": {"headers": {"Host": "127.0.0.1:99999"}},
    "an empty host": {"headers": {"Host": ""}},
    "an address in one number": {"headers": {"Host": "2130706433:5000"}},
    "a target of another host": environment(RAW_URI="http://evil.example/v1/images"),
    "a target with user info": environment(RAW_URI="http://127.0.0.1:5000@evil.example/v1/images"),
    "a target that is no URL": environment(RAW_URI="http://[/v1/images"),
    "a target of another scheme": environment(RAW_URI="gopher://127.0.0.1:5000/v1/images"),
}
WRONG_PORT = {
    "another port": {"headers": {"Host": "127.0.0.1:8080"}},
    "no port": {"headers": {"Host": "localhost"}},
}
FOREIGN = {**ELSEWHERE, **PROXY, **CROSS_SITE, **BAD_HOSTS, **WRONG_PORT}
OWN = {
    "this machine": {},
    "this machine by IPv6": environment(REMOTE_ADDR="::1"),
    "this machine by both": environment(REMOTE_ADDR="::ffff:127.0.0.1"),
    "by name": {"base_url": "http://localhost:5000"},
    "by name in upper case with a dot": {"headers": {"Host": "LocalHost.:5000"}},
    "by number of six": {"headers": {"Host": "[::1]:5000"}},
    "at the default port": {"base_url": "http://localhost"},
    "the service's own page": headers(Origin="http://127.0.0.1:5000", Sec_Fetch_Site="same-origin"),
    "the address bar": headers(Sec_Fetch_Site="none"),
    "a target with its host": environment(RAW_URI="HTTP://127.0.0.1:5000/v1/images"),
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("LocalHost.", ("localhost", 80)),
        ("[::1]:5000", ("::1", 5000)),
        ("nas_1.local:65535", ("nas_1.local", 65535)),
        *((text, None) for text in ("", ".", ":80", "a:0", "a:65536", "a:+1", "a:", "[:::1]")),
        *((text, None) for text in ("[localhost]", "::1", "a b", "ä", "a/b", "a?b", "a@b", "a\\b")),
    ],
)
def test_a_host_is_read_strictly(text, meant):
    assert parse_authority(text, "http") == meant


def get_images(client, asked, **more):
    return client.get("/v1/images", **{**HERE, **asked, **more})


@pytest.mark.parametrize("who", FOREIGN)
def test_as_long_as_there_is_no_key_others_are_not_let_in(client, who):
    answer = get_images(client, FOREIGN[who])
    assert answer.status_code == 401
    assert "keys create" in answer.json["detail"]


@pytest.mark.parametrize("header", PROXY_HEADERS)
def test_the_sign_of_a_proxy_is_named(client, header):
    detail = get_images(client, PROXY[header]).json["detail"]
    assert f"a proxy was detected: header {header}".lower() in detail.lower()
    assert "192.0.2.7" not in detail


def test_a_key_is_welcome_from_wherever_it_comes(app, client):
    shown = {"Authorization": f"Bearer {make_key(app, Right.READ)}"}
    for asked in FOREIGN.values():
        with_key = {**asked, "headers": {**asked.get("headers", {}), **shown}}
        assert get_images(client, with_key).status_code == 200


def test_with_a_key_made_nobody_is_told_more_than_that_one_is_needed(app, client):
    make_key(app, Right.READ)
    for asked in ({}, *FOREIGN.values()):
        detail = get_images(client, asked).json["detail"]
        assert detail == "this needs a key: send the header Authorization: Bearer <key>"


def test_where_proxies_are_expected_nobody_is_this_machine(make_app):
    answer = get_images(make_app(proxies=1).test_client(), {})
    assert answer.status_code == 401
    assert "EMOTION_PROXIES is set" in answer.json["detail"]


@pytest.mark.parametrize("who", OWN)
def test_as_long_as_there_is_no_key_this_machine_is(client, who):
    assert get_images(client, OWN[who]).status_code == 200


@pytest.fixture
def anonymous(make_app):
    return make_app(
        allow_anonymous=True, host="emotion.example", allowed_hosts="nas.local, Other.Example."
    ).test_client()


@pytest.mark.parametrize("who", {**ELSEWHERE, **PROXY, **WRONG_PORT, **OWN})
def test_anonymous_access_is_for_everyone(anonymous, who):
    asked = {**ELSEWHERE, **PROXY, **WRONG_PORT, **OWN}[who]
    assert get_images(anonymous, asked).status_code == 200


@pytest.mark.parametrize("who", CROSS_SITE)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_anonymous_access_is_not_for_pages_of_other_sites(anonymous, who, method):
    form = {"data": {"image": upload(picture())}} if method == "POST" else {}
    path = "/v1/images?min_faces=0" if method == "DELETE" else "/v1/images"
    answer = anonymous.open(path, method=method, **{**HERE, **CROSS_SITE[who], **form})
    assert answer.status_code == 403
    assert answer.json["type"] == "urn:emotion:problem:cross-site-request"
    assert "EMOTION_CORS_ORIGINS" in answer.json["detail"]
    assert get_images(anonymous, {}).json["images"] == []


@pytest.mark.parametrize("who", BAD_HOSTS)
def test_anonymous_access_is_not_for_names_made_to_point_here(anonymous, who):
    answer = get_images(anonymous, BAD_HOSTS[who])
    assert answer.status_code == 421
    assert answer.json["type"] == "urn:emotion:problem:unknown-host"
    assert "EMOTION_ALLOWED_HOSTS" in answer.json["detail"]


@pytest.mark.parametrize(
    "host",
    [
        *("192.168.1.5:5000", "[fe80::1]", "0.0.0.0:5000", "localhost:1", "emotion.example"),
        *("nas.local:5000", "NAS.Local", "nas.local.:5000", "other.example"),
    ],
)
def test_anonymous_access_by_address_and_by_listed_names(anonymous, host):
    own_page = {"Host": host, "Origin": f"http://{host.lower()}", "Sec-Fetch-Site": "same-origin"}
    answer = anonymous.post("/v1/images", data={"image": upload(picture())}, headers=own_page)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "names", ["http://nas.local", "nas.local:5000", "*", "*.local", "a b", "a/b"]
)
def test_what_is_no_host_name_stops_the_start(make_app, names):
    with pytest.raises(SettingError, match="EMOTION_ALLOWED_HOSTS"):
        make_app(allowed_hosts=names)


def test_a_listed_site_may_use_anonymous_access(make_app):
    client = make_app(allow_anonymous=True, cors_origins="https://app.example").test_client()
    asked = headers(Origin="https://app.example", Sec_Fetch_Site="cross-site")
    assert get_images(client, asked).status_code == 200


def test_what_a_client_sends_is_cut_and_quoted_in_the_reason(anonymous):
    answer = get_images(anonymous, headers(Origin="https://\u00e4" + "a" * 5000))
    assert answer.status_code == 403
    assert len(answer.json["detail"]) < 500
    assert answer.json["detail"].isascii()


WRONG_HEADERS = ["Basic YTpi", "bearer", "emo_a_b", "Bearer a,Bearer b", "Bearer " + "ä" * 8000]


@pytest.mark.parametrize("shown", WRONG_HEADERS)
def test_odd_authorization_headers_are_refused(client, shown):
    answer = get_images(client, {"headers": {"Authorization": shown}})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_scheme_of_a_key_may_be_in_lower_case(app, client):
    key = make_key(app, Right.READ)
    for scheme in ("bearer", "BEARER", "Bearer  "):
        answer = client.get("/v1/images", headers={"Authorization": f"{scheme} {key}"})
        assert answer.status_code == 200


def wrong(key):
    return {"headers": {"Authorization": f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}"}}


def codes(client, asked, times):
    return [get_images(client, asked).status_code for _ in range(times)]


def test_wrong_keys_are_limited_and_right_ones_keep_working(app, client):
    key = make_key(app, Right.READ)
    right = {"headers": {"Authorization": f"Bearer {key}"}}
    assert codes(client, right, 1) == [200]
    assert codes(client, wrong(key), 12) == [401] * 10 + [429] * 2
    answer = get_images(client, wrong(key))
    assert answer.json["type"] == "urn:emotion:problem:too-many-requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert codes(client, right, 1) == [200]
    assert codes(client, {}, 1) == [401]  # nothing is counted of requests without a key
    elsewhere = {**wrong(key), **environment(REMOTE_ADDR="192.0.2.9")}
    assert codes(client, elsewhere, 1) == [401]


def test_wrong_keys_are_counted_for_a_network_of_ipv6(make_app):
    app = make_app(key_failure_limit="2/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        return get_images(client, {**wrong(key), **environment(REMOTE_ADDR=address)}).status_code

    assert [ask(f"2001:db8:1:2::{n}") for n in range(3)] == [401, 401, 429]
    assert [ask(f"::ffff:192.0.2.{n}") for n in (1, 2)] == [401, 401]  # the key id is beyond it …
    assert ask("::ffff:192.0.2.1") == 429  # … for whoever has failed


def test_behind_a_proxy_the_forwarded_address_is_counted(make_app):
    app = make_app(proxies=1, key_failure_limit="1/minute")
    client, key = app.test_client(), make_key(app, Right.READ)

    def ask(address):
        asked = wrong(key)
        asked["headers"]["X-Forwarded-For"] = address
        return get_images(client, asked).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [401, 429, 401]


def test_without_that_limit_wrong_keys_are_not_counted(make_app):
    app = make_app(key_failure_limit="")
    assert set(codes(app.test_client(), wrong(make_key(app, Right.READ)), 15)) == {401}


@pytest.mark.parametrize("limit", ["many", "0/minute/x", "10", "0/minute", "1/second; 5/minute"])
def test_a_limit_of_wrong_keys_that_means_nothing_stops_the_start(make_app, limit):
    with pytest.raises(SettingError, match="EMOTION_KEY_FAILURE_LIMIT"):
        make_app(key_failure_limit=limit)


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

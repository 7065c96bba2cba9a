"""Requests without a key: this machine, proxies, other machines and pages of other sites."""

import pytest

from app.api.origin import parse_authority
from app.settings import SettingError
from app.store.keys import Right
from tests.api.access import BASE_URL, environment, get_images, headers, make_key
from tests.conftest import image_file, upload

# Arguments of the test client, by a description of the origin of the request.
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


def test_local_client_needs_key_if_service_listens_on_all_interfaces(make_app):
    assert make_app(host="0.0.0.0").test_client().get("/v1/images").status_code == 401

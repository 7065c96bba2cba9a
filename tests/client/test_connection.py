"""Proxies, certificates, addresses, API keys and redirects."""

import socket
from ipaddress import ip_address

import emotions
import pytest
from emotions import EmotionClient, ServiceUnreachable
from emotions.connection import environment_proxies, is_this_machine

from tests.client.conftest import ANALYSIS, Response, Scripted
from tests.conftest import image_file

IMAGE = image_file()
PROXY_VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
ELSEWHERE = "http://service.example"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (*PROXY_VARIABLES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def resolved(monkeypatch):
    """A resolver for tests: a dict of names and their addresses, and the list of resolved names.
    Names outside the dict cannot be resolved."""
    addresses, queries = {"localhost": ["127.0.0.1"]}, []
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host[0] in ":0123456789":
            return resolve(host, *arguments, **options)
        queries.append(host)
        if host not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [
            result
            for address in addresses[host]
            for result in resolve(address, *arguments, **options)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostname", lambda: "Workstation")
    return addresses, queries


@pytest.fixture
def another(scripted):
    """A second server: a proxy, or the target of a redirect."""
    server = Scripted()
    yield server
    server.close()


# ---------------------------------------------------------------- proxies


@pytest.mark.parametrize("variable", PROXY_VARIABLES[:3])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
def test_local_requests_use_no_proxy(scripted, another, monkeypatch, variable, upper, host):
    monkeypatch.setenv(variable.upper() if upper else variable, another.url)
    with EmotionClient(scripted.url.replace("127.0.0.1", host), "emo_key", retries=0) as client:
        client.analyse(IMAGE)
    assert len(scripted.requests) == 1
    assert another.requests == []


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.255.255.254", True), ("127.1", True), ("2130706433", True),
        ("0x7f.0.0.1", True), ("::1", True), ("0:0:0:0:0:0:0:1", True), ("::1%lo", True),
        ("::ffff:127.0.0.1", True), ("::ffff:7f00:1", True), ("0.0.0.0", True), ("::", True),
        ("localhost", True), ("LOCALHOST.", True), ("emotion.localhost", True),
        ("128.0.0.1", False), ("126.255.255.255", False), ("10.0.0.1", False), ("::2", False),
        ("::ffff:10.0.0.1", False), ("fe80::1", False), ("localhost.example", False),
        ("127.0.0.1.example", False), ("notlocalhost", False), ("", False),
    ],
)  # fmt: skip
def test_is_this_machine_for_addresses_and_localhost(host, local):
    assert is_this_machine(host) is local


NAMES = [
    ("workstation", ["127.0.1.1"], True),
    ("workstation", ["127.0.0.1", "::1"], True),
    ("WORKSTATION.", ["127.0.0.1"], True),
    ("workstation.example.org", ["127.0.1.1"], True),
    ("dev.example.org", ["127.0.0.1"], True),
    ("dev.example.org", ["127.0.0.1", "192.0.2.1"], False),
    ("workstation", ["127.0.0.1", "192.0.2.1"], False),
    ("workstation", ["192.0.2.1"], False),
    ("workstation", [], False),
    ("workstation", None, False),
    ("other", ["192.0.2.1"], False),
    ("a" * 70 + ".example", None, False),
]


@pytest.mark.parametrize(("host", "addresses", "local"), NAMES)
def test_is_this_machine_for_resolved_names(resolved, host, addresses, local):
    if addresses is not None:
        resolved[0][host.rstrip(".").lower()] = addresses
    assert is_this_machine(host) is local


@pytest.mark.parametrize(("host", "local"), [("workstation", True), ("other", False)])
def test_interface_address_is_local_only_for_own_host_name(resolved, monkeypatch, host, local):
    monkeypatch.setattr("emotions.connection.is_loopback", lambda text: not ip_address(text))
    resolved[0][host] = ["127.0.0.1"]  # in this test, an address of another local interface
    assert is_this_machine(host) is local


@pytest.mark.parametrize("host", ["workstation", "dev.example.org"])
def test_name_is_resolved_once_and_only_if_proxy_is_set(
    scripted, another, monkeypatch, resolved, host
):
    addresses, _ = resolved
    addresses[host] = ["127.0.0.1"]
    url = scripted.url.replace("127.0.0.1", host)
    checked = []
    monkeypatch.setattr(
        "emotions.connection.is_this_machine",
        lambda name: checked.append(name) or is_this_machine(name),
    )
    with EmotionClient(url, retries=0) as client:
        client.analyse(IMAGE)
    assert checked == []
    monkeypatch.setenv("HTTP_PROXY", another.url)
    with EmotionClient(url, retries=0) as client:
        assert len(list(client.analyse_many([IMAGE] * 8, workers=4))) == 8
    assert (checked, another.requests) == ([host], [])
    assert len(scripted.requests) == 9


@pytest.mark.parametrize(
    "host", ["localhost.localdomain", "localhost6", "ip6-localhost", "127.0.0.1", "[::1]", "127.1"]
)
def test_localhost_names_and_addresses_are_not_resolved(resolved, monkeypatch, host):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    assert environment_proxies(f"http://{host}:5000") == {}
    assert resolved[1] == []


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_remote_requests_use_proxy_from_environment(another, monkeypatch, variable):
    if variable == "HTTP_PROXY":
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
    monkeypatch.setenv(variable, another.url)
    with EmotionClient(ELSEWHERE, "emo_key", retries=0) as client:
        client.analyse(IMAGE)
    (request,) = another.requests
    assert request.path == f"{ELSEWHERE}/v1/images"
    assert request.headers["Authorization"] == "Bearer emo_key"


def test_https_proxy_receives_only_connect(another, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", another.url)
    another.responses = [Response(501)]
    client = EmotionClient("https://service.example", "emo_key", retries=0)
    with client, pytest.raises(ServiceUnreachable, match=r"the proxy for https://service"):
        client.analyse(IMAGE)
    # The proxy receives a CONNECT, which the stub server does not support, but no key.
    assert another.requests == []
    assert environment_proxies("https://service.example")["https"] == another.url


@pytest.mark.parametrize("name", ["service.example", ".example", "*", "x.org, example"])
def test_no_proxy_is_honoured(another, monkeypatch, name):
    monkeypatch.setenv("HTTP_PROXY", another.url)
    monkeypatch.setenv("NO_PROXY", name)
    assert not environment_proxies(ELSEWHERE)
    monkeypatch.setenv("NO_PROXY", "another.example")
    assert environment_proxies(ELSEWHERE)["http"] == another.url


def test_trust_env_false_ignores_environment(another, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", another.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle")
    session = EmotionClient(ELSEWHERE, trust_env=False)._transport._session()
    assert (session.proxies, session.verify, session.trust_env) == ({}, True, False)
    client = EmotionClient("http://no-such-host.invalid", retries=0, trust_env=False)
    with client, pytest.raises(ServiceUnreachable, match="cannot be reached"):
        client.models()
    assert another.requests == []


def test_unreachable_proxy_is_named_without_password(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:1")
    client = EmotionClient(ELSEWHERE, retries=0)
    with (
        client,
        pytest.raises(ServiceUnreachable, match=r"HTTP_PROXY.*NO_PROXY") as raised,
    ):
        client.models()
    assert "secret" not in str(raised.value)


def test_unsupported_proxy_raises_service_unreachable(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    client = EmotionClient(ELSEWHERE, retries=0)
    with client, pytest.raises(ServiceUnreachable):
        client.models()


# ---------------------------------------------------------------- certificates


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_ca_bundle_from_environment_is_used_for_every_host(monkeypatch, variable):
    monkeypatch.setenv(variable, "/some/bundle.pem")
    for url in ("https://127.0.0.1", "https://service.example"):
        assert EmotionClient(url)._transport._session().verify == "/some/bundle.pem"


def test_missing_ca_bundle_is_named(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle.pem")
    client = EmotionClient("https://127.0.0.1:1")
    with client, pytest.raises(ServiceUnreachable, match=r"/no/such/bundle.pem"):
        client.models()


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("key", ["emo_key", None])
def test_netrc_password_never_replaces_api_key(scripted, monkeypatch, tmp_path, key):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\ndefault login a password b")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with EmotionClient(scripted.url, key) as client:
        client.analyse(IMAGE)
    sent = scripted.requests[0].headers.get("Authorization")
    assert sent == (f"Bearer {key}" if key else None)


@pytest.mark.parametrize(
    "address",
    ["http://user:secret@127.0.0.1:5000", "http://secret@h", "https://:secret@h", "user:secret@h"],
)
def test_base_url_with_credentials_is_rejected_without_echo(address):
    with pytest.raises(ValueError, match="must not contain a user name or password") as raised:
        EmotionClient(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "must begin with"), ("ftp://h", "must begin with"), ("127.0.0.1:5000", "must begin"),
        ("http://", "not a valid URL"), ("http://h:99999", "not a valid URL"),
        ("http://h h", "not a valid URL"), ("http://h/?x=1", "query or fragment"),
        ("http://h/#x", "query or fragment"), ("http:\\\\h", "must begin"),
    ],
)  # fmt: skip
def test_invalid_base_url_raises_value_error(address, message):
    with pytest.raises(ValueError, match=message):
        EmotionClient(address)


def test_base_url_may_have_path(scripted):
    with EmotionClient(f"{scripted.url}/emotion/") as client:
        client.image(7)
    assert scripted.requests[0].path.startswith("/emotion/v1/images/7")


@pytest.mark.parametrize("key", ["emo\nsecret", "emo_sécret", "emo\0secret", "   "])
def test_invalid_api_key_is_rejected_without_echo(key):
    with pytest.raises(ValueError, match="api_key must be ASCII") as raised:
        EmotionClient(api_key=key)
    assert "cret" not in str(raised.value)


def test_spaces_around_api_key_are_stripped(scripted):
    with EmotionClient(scripted.url, " emo_key\r\n") as client:
        client.image(7)
    assert scripted.requests[0].headers["Authorization"] == "Bearer emo_key"


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308])
@pytest.mark.parametrize("has_target", [True, False])
def test_no_redirect_is_followed(scripted, another, status, has_target):
    target = {"Location": f"{another.url}/v1/images"} if has_target else {}
    scripted.responses = [Response(status, b"", target)]
    with EmotionClient(scripted.url, "emo_key") as client:
        for request in (
            lambda: client.analyse(IMAGE),
            lambda: client.image(7),
            lambda: client.delete(7),
            lambda: client.annotated(IMAGE),
        ):
            with pytest.raises(emotions.BadReply, match="does not follow redirects"):
                request()
    assert [request.method for request in scripted.requests] == ["POST", "GET", "DELETE", "POST"]
    assert another.requests == []


def test_client_works_after_redirect_error(scripted):
    scripted.responses = [Response(307, b"", {"Location": "/elsewhere"}), Response(201, ANALYSIS)]
    with EmotionClient(scripted.url, "emo_key") as client:
        with pytest.raises(emotions.BadReply, match="redirects to /elsewhere"):
            client.analyse(IMAGE)
        assert client.analyse(IMAGE).id == 7

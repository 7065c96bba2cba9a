"""Fetching by URL: connections, certificates, requests and statuses."""

import ssl

import pytest
import trustme

from app import create_app, fetch
from app.errors import FetchFailed
from app.fetch_policy import Host, parse_hosts
from app.settings import Settings
from tests.fetch.conftest import FILE, URL
from tests.upstream import ADDRESS, OTHER_ADDRESS, http_response, redirect


def test_fetch_connects_to_the_checked_address(internet, secure, fetcher):
    assert fetcher.fetch(URL + "?size=big#here") == FILE
    assert (internet.resolved, internet.connected) == (["images.example.com"], [(ADDRESS, 443)])
    assert secure.heads == [
        "GET /a.png?size=big HTTP/1.1\r\n"
        "Host: images.example.com\r\n"
        "User-Agent: emotion-recognition\r\n"
        "Accept: image/*\r\n"
        "Accept-Encoding: identity\r\n"
        "Connection: close\r\n\r\n"
    ]


def test_default_connect_uses_the_resolved_address(monkeypatch):
    calls = []

    def create_connection(target, timeout):
        calls.append((target, timeout))
        raise OSError

    monkeypatch.setattr("app.fetch.socket.create_connection", create_connection)
    fetcher = fetch.Fetcher(
        parse_hosts("images.example.com"), False, 5, 100, resolve=lambda _: [ADDRESS]
    )
    with pytest.raises(FetchFailed):
        fetcher.fetch(URL)
    (((address, port), seconds),) = calls
    assert (address, port) == (ADDRESS, 443)
    assert 4 < seconds <= 5


def test_default_resolver_looks_up_absolute_names(monkeypatch):
    def getaddrinfo(host, port, **_):
        assert host == "images.example.com."
        return [(2, 1, 6, "", (ADDRESS, 0)), (10, 1, 6, "", (OTHER_ADDRESS, 0, 0, 0))]

    monkeypatch.setattr("app.fetch.socket.getaddrinfo", getaddrinfo)
    assert fetch.resolve_host("images.example.com") == [ADDRESS, OTHER_ADDRESS]


def test_fetch_tries_the_next_address_if_one_does_not_respond(internet, secure):
    internet.names["images.example.com"] = lambda: [ADDRESS, OTHER_ADDRESS]
    shares = []

    def connect(address, port, seconds):
        shares.append(seconds)
        if address == ADDRESS:
            raise TimeoutError
        return internet.connect(address, port, seconds)

    assert internet.fetcher(connect=connect).fetch(URL) == FILE
    assert shares[0] <= 15 < shares[1] <= 30


def test_create_app_configures_the_fetcher_from_the_settings():
    assert create_app(Settings()).extensions["fetcher"] is None
    fetcher = create_app(
        Settings(fetch_hosts=".example.com", fetch_http=True, fetch_seconds=3, max_image_bytes=9)
    ).extensions["fetcher"]
    assert fetcher.hosts == (Host(".example.com"),)
    assert (fetcher.allow_http, fetcher.seconds, fetcher.max_bytes) == (True, 3, 9)
    assert (fetcher.resolve, fetcher.connect) == (fetch.resolve_host, fetch.connect)
    assert fetcher.tls.verify_mode == ssl.CERT_REQUIRED
    assert fetcher.tls.check_hostname


def test_fetch_uses_http_if_it_is_allowed(internet):
    internet.plain.responses["/a.png"] = http_response(FILE)
    fetcher = internet.fetcher("images.example.com:8080,images.example.com", allow_http=True)
    assert fetcher.fetch("http://images.example.com/a.png") == FILE
    assert fetcher.fetch("http://images.example.com:8080/a.png") == FILE
    assert internet.connected == [(ADDRESS, 80), (ADDRESS, 8080)]
    assert "Host: images.example.com:8080\r\n" in internet.plain.heads[1]


@pytest.mark.parametrize("status", ["201 Created", "204 None", "206 Part", "304 Same", "401 Who",
                                    "404 Gone", "500 Oops", "302 Found"])  # fmt: skip
def test_fetch_rejects_other_statuses_without_showing_the_body(secure, fetcher, status):
    secure.responses["/b.png"] = http_response(b"secret", status=status)
    with pytest.raises(FetchFailed, match=f"status {status[:3]}") as caught:
        fetcher.fetch("https://images.example.com/b.png")
    assert "secret" not in str(caught.value)


def test_fetch_rejects_a_certificate_for_another_name(internet, secure):
    with pytest.raises(FetchFailed, match="certificate"):
        internet.fetcher("wrong.example.com").fetch("https://wrong.example.com/a.png")
    assert secure.heads == []


def test_fetch_rejects_a_certificate_of_an_untrusted_authority(internet, secure):
    context = ssl.create_default_context()
    trustme.CA().configure_trust(context)
    with pytest.raises(FetchFailed, match="certificate"):
        internet.fetcher(tls=context).fetch(URL)
    assert secure.heads == []


def test_fetch_ignores_proxies_of_the_environment(internet, secure, fetcher, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetcher.fetch(URL) == FILE
    assert internet.connected == [(ADDRESS, 443)]


def test_fetch_stores_and_sends_no_cookies(secure, fetcher):
    with_cookie = redirect("/a.png").replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
    secure.responses["/b.png"] = with_cookie
    fetcher.fetch("https://images.example.com/b.png")
    assert not any("cookie" in head.lower() for head in secure.heads)


def test_the_error_for_an_unknown_name_shows_no_details(internet, fetcher):
    internet.names.clear()
    with pytest.raises(FetchFailed) as caught:
        fetcher.fetch(URL)
    assert "secret" not in str(caught.value)
    assert "10.0.0.53" not in str(caught.value)

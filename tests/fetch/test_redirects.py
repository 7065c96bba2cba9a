"""Fetching by URL: redirects."""

import pytest

from app.errors import FetchTimedOut, UnusableUrl
from tests.fetch.conftest import FILE
from tests.upstream import ADDRESS, http_response, redirect


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 T", "308 P"])
def test_fetch_follows_a_redirect_with_a_new_lookup(internet, secure, status):
    secure.responses["/old/b.png"] = redirect("../a.png", status)
    assert internet.fetcher().fetch("https://images.example.com/old/b.png") == FILE
    assert internet.resolved == ["images.example.com"] * 2
    assert internet.connected == [(ADDRESS, 443)] * 2


def test_fetch_follows_a_redirect_to_another_listed_host(internet, secure):
    secure.responses["/b.png"] = redirect("//cdn.example.net/a.png")
    fetcher = internet.fetcher("images.example.com,cdn.example.net")
    assert fetcher.fetch("https://images.example.com/b.png") == FILE
    assert "Host: cdn.example.net\r\n" in secure.heads[1]
    assert "images.example.com" not in secure.heads[1]  # no Referer


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/a.png",
        "https://elsewhere.example/a.png",
        "http://images.example.com/a.png",
        "https://images.example.com:8443/a.png",
        "https://me:word@images.example.com/a.png",
        "file:///etc/passwd",
        "/ä.png",
    ],
)
def test_fetch_rejects_a_redirect_to_a_url_that_is_not_allowed(internet, secure, location):
    secure.responses["/b.png"] = redirect(location)
    with pytest.raises(UnusableUrl):
        internet.fetcher().fetch("https://images.example.com/b.png")
    assert len(internet.connected) == 1
    assert internet.plain.heads == []


def test_fetch_rejects_a_redirect_to_a_listed_host_at_a_private_address(internet, secure):
    secure.responses["/b.png"] = redirect("https://cdn.example.net/a.png")
    internet.names["cdn.example.net"] = lambda: ["192.168.1.1"]
    with pytest.raises(UnusableUrl, match="public"):
        internet.fetcher("images.example.com,cdn.example.net").fetch(
            "https://images.example.com/b.png"
        )
    assert len(internet.connected) == 1


def test_fetch_stops_after_the_maximum_number_of_redirects(internet, secure, fetcher):
    for number in range(1, 5):
        secure.responses[f"/{number}"] = redirect(f"/{number - 1}")
    secure.responses["/0"] = http_response(FILE)
    assert fetcher.fetch("https://images.example.com/3") == FILE
    with pytest.raises(UnusableUrl, match="more than 3 times"):
        fetcher.fetch("https://images.example.com/4")
    assert len(internet.connected) == 4 + 4


def test_all_redirects_share_one_time_limit(internet, secure):
    def redirect_slowly(connection):
        secure.stopped.wait(0.25)
        connection.sendall(redirect("/b.png"))

    secure.responses["/b.png"] = redirect_slowly
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.4).fetch("https://images.example.com/b.png")

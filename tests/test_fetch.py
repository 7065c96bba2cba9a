"""Fetching by URL: allowed hosts and addresses, requests, redirects, sizes and time limits."""

import gzip
import ssl
import threading
import time
from dataclasses import replace

import pytest
import trustme

from app import create_app, fetch
from app.errors import FetchFailed, FetchTimedOut, ImageTooLarge, UnusableUrl
from app.fetch_policy import Host, is_public, parse_hosts
from app.settings import SettingError, Settings
from tests.upstream import ADDRESS, OTHER_ADDRESS, http_response, redirect

URL = "https://images.example.com/a.png"
FILE = b"the file" * 1000
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def secure(internet):
    """The HTTPS server at images.example.com and at all other names."""
    internet.secure.responses["/a.png"] = http_response(FILE)
    return internet.secure


@pytest.fixture
def fetcher(internet, secure):
    return internet.fetcher()


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


PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
    "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "2001:200::", "2001:4860:4860::8888", "2003::1", "2606:4700::1111",
    "3ffe:ffff::1",
]  # fmt: skip
NOT_PUBLIC = [
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200",
    "100.127.255.255", "127.0.0.1", "127.255.255.255", "168.63.129.16", "169.254.0.0",
    "169.254.169.254", "169.254.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.0",
    "192.0.0.170", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0", "192.168.255.255",
    "198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:1ff:ffff::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254",
    "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "", "images.example.com", "127.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_is_public_accepts_addresses_of_the_internet(address):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_fetch_rejects_a_host_at_an_address_that_is_not_public(internet, fetcher, address):
    assert not is_public(address)
    internet.names["images.example.com"] = lambda: [address]
    with pytest.raises(UnusableUrl, match="not at a public address") as caught:
        fetcher.fetch(URL)
    assert not address or address == "images.example.com" or address not in str(caught.value)
    assert internet.connected == []


@pytest.mark.parametrize("at", [0, 1, 2])
def test_fetch_rejects_a_host_if_one_of_its_addresses_is_not_public(internet, fetcher, at):
    addresses = [ADDRESS, OTHER_ADDRESS]
    addresses.insert(at, "10.0.0.1")
    internet.names["images.example.com"] = lambda: addresses
    with pytest.raises(UnusableUrl, match="public"):
        fetcher.fetch(URL)
    assert internet.connected == []


def test_fetch_is_safe_from_dns_rebinding(internet, secure, fetcher):
    """The second lookup of the name returns the loopback address."""
    lookups = iter([[ADDRESS], ["127.0.0.1"]])
    internet.names["images.example.com"] = lambda: next(lookups)
    assert fetcher.fetch(URL) == FILE
    assert internet.connected == [(ADDRESS, 443)]
    with pytest.raises(UnusableUrl, match="public"):
        fetcher.fetch(URL)
    assert internet.connected == [(ADDRESS, 443)]


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


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/a.png",
        "https://images.example.com.evil.example/a.png",
        "https://evilimages.example.com/a.png",
        "https://example.com/a.png",
        "https://a.images.example.com/a.png",
        "https://images.example.com:80/a.png",
        "https://images.example.com:8443/a.png",
        "https://images.example.com:0/a.png",
        "https://images.example.com:99999/a.png",
        "https://images.example.com:x/a.png",
        "http://images.example.com/a.png",
        "ftp://images.example.com/a.png",
        "file:///etc/passwd",
        "//images.example.com/a.png",
        "images.example.com/a.png",
        "data:image/png;base64,AAAA",
        "https:///a.png",
        "https://",
        "",
        "https://me:word@images.example.com/a.png",
        "https://me@images.example.com/a.png",
        "https://@images.example.com/a.png",
        "https://images.example.com@10.0.0.1/a.png",
        "https://10.0.0.1#@images.example.com/a.png",
        "https://10.0.0.1\\@images.example.com/a.png",
        "https://images.example.com\\.evil.example/a.png",
        "https://images.example.com\t/a.png",
        "https://images.example.com/a b.png",
        "https://images.example.com/a\r\nHost: evil.example",
        "https://images.example.com/ä.png",
        "https://ｉmages.example.com/a.png",
        "https://images。example.com/a.png",
        "https://bücher.example/a.png",
        "https://images.example.com../a.png",
        "https://.images.example.com/a.png",
        "https://im%61ges.example.com/a.png",
        "https://images.example.com/" + "a" * 2048,
        "https://[::1]/a.png",
        "https://[images.example.com]/a.png",
        "https://[/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
    ],
)
def test_fetch_rejects_a_url_that_is_not_allowed_before_the_lookup(internet, fetcher, url):
    with pytest.raises(UnusableUrl):
        fetcher.fetch(url)
    assert internet.resolved == internet.connected == []


@pytest.mark.parametrize(
    "literal",
    [
        "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1",
        "017700000001", "0177.0.0.1", "8.8.8.8", "0", "0x", "a.b.1", "1.0x1", "127.0.0.1.example.1",
    ],
)  # fmt: skip
def test_an_ip_address_in_any_notation_is_not_a_host_name(internet, literal):
    with pytest.raises(ValueError, match="not a valid host"):
        parse_hosts(literal)
    fetcher = replace(internet.fetcher(), hosts=(Host(literal), Host(".1")))
    with pytest.raises(UnusableUrl, match="not an IP address"):
        fetcher.fetch(f"https://{literal}/a.png")
    assert internet.resolved == []


@pytest.mark.parametrize(
    "url",
    [
        "https://IMAGES.Example.COM/a.png",
        "HTTPS://images.example.com/a.png",
        "https://images.example.com./a.png",
        "https://images.example.com:443/a.png",
        "https://images.example.com:/a.png",
    ],
)
def test_fetch_accepts_other_notations_of_an_allowed_host(internet, secure, fetcher, url):
    assert fetcher.fetch(url) == FILE
    assert internet.resolved == ["images.example.com"]
    assert "Host: images.example.com\r\n" in secure.heads[0]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ()),
        (" , ", ()),
        ("images.example.com", (Host("images.example.com"),)),
        (" A.example , .B.example.,c.example:8443", (
            Host("a.example"), Host(".b.example"), Host("c.example", 8443)
        )),
        ("xn--bcher-kva.example", (Host("xn--bcher-kva.example"),)),
        ("localhost", (Host("localhost"),)),
    ],
)  # fmt: skip
def test_parse_hosts_accepts_a_comma_separated_list(text, hosts):
    assert parse_hosts(text) == hosts


@pytest.mark.parametrize(
    "text",
    ["*", "*.example.com", ".com", ".", "a b", "https://a.example", "a.example/x", "a.example:",
     "a.example:0", "a.example:70000", "a.example:http", "10.0.0.1", "[::1]", "::1",
     "bücher.example", "-a.example", "a..example", "a" * 64 + ".example", "me@a.example"],
)  # fmt: skip
def test_create_app_rejects_an_invalid_list_of_hosts(text):
    with pytest.raises(SettingError, match=r"EMOTION_FETCH_HOSTS: '.*' (is|has|would)"):
        create_app(Settings(fetch_hosts=f"good.example, {text}"))


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


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        (".example.com", "https://images.example.com/a.png", True),
        (".example.com", "https://a.b.example.com/a.png", True),
        (".example.com", "https://example.com/a.png", False),
        (".example.com", "https://badexample.com/a.png", False),
        ("example.com:8443", "https://example.com:8443/a.png", True),
        ("example.com:8443", "https://example.com/a.png", False),
        ("example.com:8443,example.com", "https://example.com/a.png", True),
        ("example.com:8080", "http://example.com:8080/a.png", True),
        ("example.com", "http://example.com/a.png", True),
        ("example.com", "http://example.com:443/a.png", False),
    ],
)
def test_fetch_accepts_only_listed_hosts_and_ports(internet, hosts, url, allowed):
    fetcher = internet.fetcher(hosts, allow_http=True)
    # No name can be resolved, so an allowed URL fails at the lookup.
    internet.names.clear()
    with pytest.raises(FetchFailed if allowed else UnusableUrl):
        fetcher.fetch(url)


def test_fetch_uses_http_if_it_is_allowed(internet):
    internet.plain.responses["/a.png"] = http_response(FILE)
    fetcher = internet.fetcher("images.example.com:8080,images.example.com", allow_http=True)
    assert fetcher.fetch("http://images.example.com/a.png") == FILE
    assert fetcher.fetch("http://images.example.com:8080/a.png") == FILE
    assert internet.connected == [(ADDRESS, 80), (ADDRESS, 8080)]
    assert "Host: images.example.com:8080\r\n" in internet.plain.heads[1]


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


@pytest.mark.parametrize("status", ["201 Created", "204 None", "206 Part", "304 Same", "401 Who",
                                    "404 Gone", "500 Oops", "302 Found"])  # fmt: skip
def test_fetch_rejects_other_statuses_without_showing_the_body(secure, fetcher, status):
    secure.responses["/b.png"] = http_response(b"secret", status=status)
    with pytest.raises(FetchFailed, match=f"status {status[:3]}") as caught:
        fetcher.fetch("https://images.example.com/b.png")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (http_response(b""), FetchFailed),
        (http_response(b"", CHUNKED), FetchFailed),
        (http_response(FILE, f"Content-Length: {len(FILE) + 1}"), FetchFailed),
        (http_response(b"5\r\nabc", CHUNKED), FetchFailed),
        (http_response(b"5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(b"xyz\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(b"-5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(gzip.compress(FILE), "Content-Encoding: gzip"), FetchFailed),
        (http_response(gzip.compress(bytes(10**7)), "Content-Encoding: x-gzip"), FetchFailed),
        (http_response(FILE, "Content-Encoding: identity, br"), FetchFailed),
        (http_response(FILE, "Transfer-Encoding: gzip, chunked"), FetchFailed),
        (b"", FetchFailed),
        (b"SSH-2.0-OpenSSH_9.6\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", FetchFailed),
        (http_response(b"", "Content-Length: 100001"), ImageTooLarge),
        (http_response(b"", f"Content-Length: {10**30}"), ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_001), ImageTooLarge),
        (http_response(b"30d41\r\n" + bytes(200_001) + b"\r\n0\r\n\r\n", CHUNKED), ImageTooLarge),
    ],
)
def test_fetch_rejects_incomplete_encoded_and_too_large_files(secure, fetcher, response, error):
    secure.responses["/b.png"] = response
    with pytest.raises(error):
        fetcher.fetch("https://images.example.com/b.png")


@pytest.mark.parametrize(
    "response",
    [
        http_response(FILE),
        http_response(FILE + b"more", f"Content-Length: {len(FILE)}"),
        http_response(FILE, "Content-Length: many"),
        b"HTTP/1.0 200 OK\r\n\r\n" + FILE,
        http_response(
            b"1f40;x=y\r\n" + FILE + b"\r\n0\r\nT: x\r\n\r\n", CHUNKED, "Content-Length: 3"
        ),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(FILE),
    ],
)
def test_fetch_accepts_complete_files_of_any_framing(secure, fetcher, response):
    secure.responses["/b.png"] = response
    assert fetcher.fetch("https://images.example.com/b.png") == FILE


def test_fetch_accepts_a_file_of_exactly_the_allowed_size(internet, secure):
    url = "https://images.example.com/b.png"
    for response in (http_response(FILE), b"HTTP/1.1 200 OK\r\n\r\n" + FILE):
        secure.responses["/b.png"] = response
        assert internet.fetcher(max_bytes=len(FILE)).fetch(url) == FILE
        with pytest.raises(ImageTooLarge, match=f"more than the allowed {len(FILE) - 1} bytes"):
            internet.fetcher(max_bytes=len(FILE) - 1).fetch(url)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (OK + b"\r\n", bytes(65_536)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", bytes(65_536)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"Trailer: x\r\n" * 5000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    ],
    ids=["body", "chunks", "chunk of -1", "trailers", "100 Continue"],
)
def test_fetch_stops_reading_an_endless_response(internet, secure, start, again):
    secure.responses["/b.png"] = secure.drip(start, again, seconds=0)
    with pytest.raises(ImageTooLarge):
        internet.fetcher(seconds=60).fetch("https://images.example.com/b.png")


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b""),
        (b"HTTP/1.1 20", b"0"),
        (OK, b"X: a\r\n"[:1]),
        (OK + b"Content-Length: 5000\r\n\r\n", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (OK + b"\r\n", b"a"),
    ],
    ids=["nothing", "status", "headers", "body", "chunks", "body without length"],
)
def test_fetch_times_out_for_a_host_that_sends_single_bytes(internet, secure, start, again):
    secure.responses["/b.png"] = secure.drip(start, again)
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut, match=r"within 0.3 s"):
        internet.fetcher(seconds=0.3).fetch("https://images.example.com/b.png")
    assert 0.3 <= time.monotonic() - start_time < 8


def test_all_redirects_share_one_time_limit(internet, secure):
    def redirect_slowly(connection):
        secure.stopped.wait(0.25)
        connection.sendall(redirect("/b.png"))

    secure.responses["/b.png"] = redirect_slowly
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.4).fetch("https://images.example.com/b.png")


def test_fetch_times_out_if_the_resolver_hangs(internet, secure):
    resume = threading.Event()
    internet.names["images.example.com"] = lambda: resume.wait(10) and [ADDRESS]
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.2).fetch(URL)
    assert time.monotonic() - start_time < 8
    resume.set()
    assert internet.connected == []


def test_fetch_times_out_if_the_tls_handshake_hangs(internet):
    internet.plain.responses["/a.png"] = b""
    # A server without TLS waits for the end of the request, which never arrives.
    fetcher = internet.fetcher("images.example.com:8080", seconds=0.3)
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut):
        fetcher.fetch("https://images.example.com:8080/a.png")
    assert time.monotonic() - start_time < 8


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

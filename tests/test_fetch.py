"""Fetching by URL: what is asked for, of whom, and for how long."""

import gzip
import ssl
import threading
import time
from dataclasses import replace

import pytest
import trustme

from app import create_app, fetch
from app.errors import FetchFailed, FetchTimedOut, ImageTooLarge, UnusableUrl
from app.fetch import Host, is_public, read_hosts
from app.settings import SettingError, Settings
from tests.upstream import ADDRESS, OTHER_ADDRESS, to, whole

URL = "https://images.example.com/a.png"
FILE = b"the file" * 1000
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture
def secure(internet):
    """What lies at images.example.com (and at all other names)."""
    internet.secure.answers["/a.png"] = whole(FILE)
    return internet.secure


@pytest.fixture
def fetcher(internet, secure):
    return internet.fetcher()


def test_a_file_is_fetched_from_the_address_that_was_checked(internet, secure, fetcher):
    assert fetcher.fetch(URL + "?size=big#here") == FILE
    assert (internet.asked, internet.connected) == (["images.example.com"], [(ADDRESS, 443)])
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
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_host_at_an_address_that_is_not_public_is_refused(internet, fetcher, address):
    assert not is_public(address)
    internet.names["images.example.com"] = lambda: [address]
    with pytest.raises(UnusableUrl, match="not at a public address") as caught:
        fetcher.fetch(URL)
    assert not address or address == "images.example.com" or address not in str(caught.value)
    assert internet.connected == []


@pytest.mark.parametrize("at", [0, 1, 2])
def test_one_address_that_is_not_public_is_enough(internet, fetcher, at):
    addresses = [ADDRESS, OTHER_ADDRESS]
    addresses.insert(at, "10.0.0.1")
    internet.names["images.example.com"] = lambda: addresses
    with pytest.raises(UnusableUrl, match="public"):
        fetcher.fetch(URL)
    assert internet.connected == []


def test_a_name_that_means_another_address_by_then_does_no_harm(internet, secure, fetcher):
    """DNS rebinding: whoever looks it up again gets the loopback address."""
    answers = iter([[ADDRESS], ["127.0.0.1"]])
    internet.names["images.example.com"] = lambda: next(answers)
    assert fetcher.fetch(URL) == FILE
    assert internet.connected == [(ADDRESS, 443)]
    with pytest.raises(UnusableUrl, match="public"):
        fetcher.fetch(URL)
    assert internet.connected == [(ADDRESS, 443)]


def test_by_default_the_connection_is_made_to_the_address(monkeypatch):
    asked = []

    def create_connection(place, timeout):
        asked.append((place, timeout))
        raise OSError

    monkeypatch.setattr("app.fetch.socket.create_connection", create_connection)
    for_one = fetch.Fetcher(
        read_hosts("images.example.com"), False, 5, 100, resolve=lambda _: [ADDRESS]
    )
    with pytest.raises(FetchFailed):
        for_one.fetch(URL)
    (((address, port), seconds),) = asked
    assert (address, port) == (ADDRESS, 443)
    assert 4 < seconds <= 5


def test_by_default_names_are_looked_up_as_whole_names(monkeypatch):
    def getaddrinfo(host, port, **_):
        assert host == "images.example.com."
        return [(2, 1, 6, "", (ADDRESS, 0)), (10, 1, 6, "", (OTHER_ADDRESS, 0, 0, 0))]

    monkeypatch.setattr("app.fetch.socket.getaddrinfo", getaddrinfo)
    assert fetch.look_up("images.example.com") == [ADDRESS, OTHER_ADDRESS]


def test_the_next_address_is_tried_where_one_does_not_answer(internet, secure):
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
def test_what_is_not_allowed_is_not_even_looked_up(internet, fetcher, url):
    with pytest.raises(UnusableUrl):
        fetcher.fetch(url)
    assert internet.asked == internet.connected == []


@pytest.mark.parametrize(
    "literal",
    [
        "127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1",
        "017700000001", "0177.0.0.1", "8.8.8.8", "0", "0x", "a.b.1", "1.0x1", "127.0.0.1.example.1",
    ],
)  # fmt: skip
def test_an_address_in_any_writing_is_no_host(internet, literal):
    with pytest.raises(ValueError, match="no host name"):
        read_hosts(literal)
    everything = replace(internet.fetcher(), hosts=(Host(literal), Host(".1")))
    with pytest.raises(UnusableUrl, match="not by an address"):
        everything.fetch(f"https://{literal}/a.png")
    assert internet.asked == []


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
def test_one_host_in_other_writings_is_the_same_host(internet, secure, fetcher, url):
    assert fetcher.fetch(url) == FILE
    assert internet.asked == ["images.example.com"]
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
def test_hosts_are_read_from_a_list(text, hosts):
    assert read_hosts(text) == hosts


@pytest.mark.parametrize(
    "text",
    ["*", "*.example.com", ".com", ".", "a b", "https://a.example", "a.example/x", "a.example:",
     "a.example:0", "a.example:70000", "a.example:http", "10.0.0.1", "[::1]", "::1",
     "bücher.example", "-a.example", "a..example", "a" * 64 + ".example", "me@a.example"],
)  # fmt: skip
def test_a_wrong_list_stops_the_start(text):
    with pytest.raises(SettingError, match=r"EMOTION_FETCH_HOSTS: '.*' (is|has|would)"):
        create_app(Settings(fetch_hosts=f"good.example, {text}"))


def test_the_settings_make_the_fetcher():
    assert create_app(Settings()).extensions["fetcher"] is None
    made = create_app(
        Settings(fetch_hosts=".example.com", fetch_http=True, fetch_seconds=3, max_image_bytes=9)
    ).extensions["fetcher"]
    assert made.hosts == (Host(".example.com"),)
    assert (made.allow_http, made.seconds, made.max_bytes) == (True, 3, 9)
    assert (made.resolve, made.connect) == (fetch.look_up, fetch.connect)
    assert made.tls.verify_mode == ssl.CERT_REQUIRED
    assert made.tls.check_hostname


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
def test_hosts_and_ports_are_those_listed(internet, hosts, url, allowed):
    fetcher = internet.fetcher(hosts, allow_http=True)
    # Nothing is known by these names, so what is allowed fails later.
    internet.names.clear()
    with pytest.raises(FetchFailed if allowed else UnusableUrl):
        fetcher.fetch(url)


def test_http_is_fetched_where_it_is_allowed(internet):
    internet.plain.answers["/a.png"] = whole(FILE)
    fetcher = internet.fetcher("images.example.com:8080,images.example.com", allow_http=True)
    assert fetcher.fetch("http://images.example.com/a.png") == FILE
    assert fetcher.fetch("http://images.example.com:8080/a.png") == FILE
    assert internet.connected == [(ADDRESS, 80), (ADDRESS, 8080)]
    assert "Host: images.example.com:8080\r\n" in internet.plain.heads[1]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 T", "308 P"])
def test_a_redirect_is_followed_and_looked_up_anew(internet, secure, status):
    secure.answers["/old/b.png"] = to("../a.png", status)
    assert internet.fetcher().fetch("https://images.example.com/old/b.png") == FILE
    assert internet.asked == ["images.example.com"] * 2
    assert internet.connected == [(ADDRESS, 443)] * 2


def test_a_redirect_to_another_listed_host_is_followed(internet, secure):
    secure.answers["/b.png"] = to("//cdn.example.net/a.png")
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
def test_a_redirect_to_where_nothing_is_fetched_from_is_refused(internet, secure, location):
    secure.answers["/b.png"] = to(location)
    with pytest.raises(UnusableUrl):
        internet.fetcher().fetch("https://images.example.com/b.png")
    assert len(internet.connected) == 1
    assert internet.plain.heads == []


def test_a_redirect_to_a_listed_host_at_a_private_address_is_refused(internet, secure):
    secure.answers["/b.png"] = to("https://cdn.example.net/a.png")
    internet.names["cdn.example.net"] = lambda: ["192.168.1.1"]
    with pytest.raises(UnusableUrl, match="public"):
        internet.fetcher("images.example.com,cdn.example.net").fetch(
            "https://images.example.com/b.png"
        )
    assert len(internet.connected) == 1


def test_redirects_have_an_end(internet, secure, fetcher):
    for number in range(1, 5):
        secure.answers[f"/{number}"] = to(f"/{number - 1}")
    secure.answers["/0"] = whole(FILE)
    assert fetcher.fetch("https://images.example.com/3") == FILE
    with pytest.raises(UnusableUrl, match="more than 3 times"):
        fetcher.fetch("https://images.example.com/4")
    assert len(internet.connected) == 4 + 4


@pytest.mark.parametrize("status", ["201 Created", "204 None", "206 Part", "304 Same", "401 Who",
                                    "404 Gone", "500 Oops", "302 Found"])  # fmt: skip
def test_other_answers_are_no_file_and_their_body_stays_there(secure, fetcher, status):
    secure.answers["/b.png"] = whole(b"secret", status=status)
    with pytest.raises(FetchFailed, match=f"status {status[:3]}") as caught:
        fetcher.fetch("https://images.example.com/b.png")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (whole(b""), FetchFailed),
        (whole(b"", CHUNKED), FetchFailed),
        (whole(FILE, f"Content-Length: {len(FILE) + 1}"), FetchFailed),
        (whole(b"5\r\nabc", CHUNKED), FetchFailed),
        (whole(b"5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (whole(b"xyz\r\nabcde\r\n", CHUNKED), FetchFailed),
        (whole(b"-5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (whole(gzip.compress(FILE), "Content-Encoding: gzip"), FetchFailed),
        (whole(gzip.compress(bytes(10**7)), "Content-Encoding: x-gzip"), FetchFailed),
        (whole(FILE, "Content-Encoding: identity, br"), FetchFailed),
        (whole(FILE, "Transfer-Encoding: gzip, chunked"), FetchFailed),
        (b"", FetchFailed),
        (b"SSH-2.0-OpenSSH_9.6\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", FetchFailed),
        (whole(b"", "Content-Length: 100001"), ImageTooLarge),
        (whole(b"", f"Content-Length: {10**30}"), ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_001), ImageTooLarge),
        (whole(b"30d41\r\n" + bytes(200_001) + b"\r\n0\r\n\r\n", CHUNKED), ImageTooLarge),
    ],
)
def test_what_is_no_whole_file_or_too_large_is_refused(secure, fetcher, answer, error):
    secure.answers["/b.png"] = answer
    with pytest.raises(error):
        fetcher.fetch("https://images.example.com/b.png")


@pytest.mark.parametrize(
    "answer",
    [
        whole(FILE),
        whole(FILE + b"more", f"Content-Length: {len(FILE)}"),
        whole(FILE, "Content-Length: many"),
        b"HTTP/1.0 200 OK\r\n\r\n" + FILE,
        whole(b"1f40;x=y\r\n" + FILE + b"\r\n0\r\nT: x\r\n\r\n", CHUNKED, "Content-Length: 3"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + whole(FILE),
    ],
)  # fmt: skip
def test_what_is_a_whole_file_is_taken(secure, fetcher, answer):
    secure.answers["/b.png"] = answer
    assert fetcher.fetch("https://images.example.com/b.png") == FILE


def test_a_file_of_just_the_allowed_size_is_taken(internet, secure):
    url = "https://images.example.com/b.png"
    for answer in (whole(FILE), b"HTTP/1.1 200 OK\r\n\r\n" + FILE):
        secure.answers["/b.png"] = answer
        assert internet.fetcher(max_bytes=len(FILE)).fetch(url) == FILE
        with pytest.raises(ImageTooLarge, match=f"more than {len(FILE) - 1} bytes"):
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
def test_what_has_no_end_is_cut_off(internet, secure, start, again):
    secure.answers["/b.png"] = secure.drip(start, again, seconds=0)
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
def test_who_drips_is_waited_for_no_longer_than_for_others(internet, secure, start, again):
    secure.answers["/b.png"] = secure.drip(start, again)
    begun = time.monotonic()
    with pytest.raises(FetchTimedOut, match=r"within 0.3 s"):
        internet.fetcher(seconds=0.3).fetch("https://images.example.com/b.png")
    assert 0.3 <= time.monotonic() - begun < 8


def test_redirects_share_the_time(internet, secure):
    def slowly(connection):
        secure.stopped.wait(0.25)
        connection.sendall(to("/b.png"))

    secure.answers["/b.png"] = slowly
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.4).fetch("https://images.example.com/b.png")


def test_a_resolver_that_hangs_is_not_waited_for(internet, secure):
    going_on = threading.Event()
    internet.names["images.example.com"] = lambda: going_on.wait(10) and [ADDRESS]
    begun = time.monotonic()
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.2).fetch(URL)
    assert time.monotonic() - begun < 8
    going_on.set()
    assert internet.connected == []


def test_a_handshake_that_hangs_is_not_waited_for(internet):
    internet.plain.answers["/a.png"] = b""
    # A server without TLS waits for the end of a request that never comes.
    fetcher = internet.fetcher("images.example.com:8080", seconds=0.3)
    begun = time.monotonic()
    with pytest.raises(FetchTimedOut):
        fetcher.fetch("https://images.example.com:8080/a.png")
    assert time.monotonic() - begun < 8


def test_the_certificate_must_be_of_the_name(internet, secure):
    with pytest.raises(FetchFailed, match="certificate"):
        internet.fetcher("wrong.example.com").fetch("https://wrong.example.com/a.png")
    assert secure.heads == []


def test_the_certificate_must_be_of_somebody_who_is_trusted(internet, secure):
    other = ssl.create_default_context()
    trustme.CA().configure_trust(other)
    with pytest.raises(FetchFailed, match="certificate"):
        internet.fetcher(tls=other).fetch(URL)
    assert secure.heads == []


def test_proxies_of_the_environment_are_not_asked(internet, secure, fetcher, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetcher.fetch(URL) == FILE
    assert internet.connected == [(ADDRESS, 443)]


def test_cookies_are_neither_kept_nor_sent(secure, fetcher):
    secure.answers["/b.png"] = to("/a.png").replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
    fetcher.fetch("https://images.example.com/b.png")
    assert not any("cookie" in head.lower() for head in secure.heads)


def test_an_unknown_name_is_a_failure_that_tells_nothing(internet, fetcher):
    internet.names.clear()
    with pytest.raises(FetchFailed) as caught:
        fetcher.fetch(URL)
    assert "secret" not in str(caught.value)
    assert "10.0.0.53" not in str(caught.value)

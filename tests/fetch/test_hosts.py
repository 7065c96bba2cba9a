"""Fetching by URL: the hosts, ports and addresses that are allowed."""

from dataclasses import replace

import pytest

from app import create_app
from app.errors import FetchFailed, UnusableUrl
from app.fetch_policy import Host, is_public, parse_hosts
from app.settings import SettingError, Settings
from tests.fetch.conftest import FILE, URL
from tests.upstream import ADDRESS, OTHER_ADDRESS

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

"""Pictures that a client names by URL: from listed hosts, at public addresses, within limits.

Every URL, also one that a redirect leads to, is checked for its scheme, host and port before its
host is looked up; all addresses found are checked; and the connection goes to one of these, not to
the name, which could mean another address by then. TLS still asks for a certificate of the name.

The request is written and the socket made here, and http.client reads the answer: requests and
urllib3 look names up themselves, where a check comes too early or too late, and know a time limit
for each read only. Nothing here reads the environment, keeps cookies or sends credentials.
"""

import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from urllib.parse import SplitResult, urljoin, urlsplit

from app.errors import FetchFailed, FetchTimedOut, ImageTooLarge, UnusableUrl

PORTS = {"https": 443, "http": 80}
MAX_URL = 2048
MAX_REDIRECTS = 3
REDIRECTS = {301, 302, 303, 307, 308}
AT_ONCE = 65_536
OVERHEAD = 1_000_000  # bytes on the wire beside the picture's: headers, and the frames of chunks

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label of a name is no number: 127.1 and 0x7f000001 are addresses to some resolvers.
_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*(?!\d+$|0x[0-9a-f]*$){_LABEL}", re.ASCII)

# Of IPv6 only what is given out to the world (2000::/3). Addresses that hold another one (mapped,
# NAT64) lie outside it, 6to4 and Teredo are taken out below. Written down here because what
# `ipaddress` calls global differs between versions of Python.
_GIVEN_OUT = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers (CGNAT)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host, by a public address
        "169.254.0.0/16",  # link-local, and metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]

Resolve = Callable[[str], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


@dataclass(frozen=True, slots=True)
class Host:
    """A host that pictures may be fetched from: a name in lower case or, from a dot on, all names
    that end like this; at `port`, or the scheme's own where it is None."""

    name: str
    port: int | None = None

    def covers(self, name: str, port: int, scheme: str) -> bool:
        alike = name.endswith(self.name) if self.name.startswith(".") else name == self.name
        return alike and port == (PORTS[scheme] if self.port is None else self.port)


def read_hosts(text: str) -> tuple[Host, ...]:
    """The hosts of `"images.example.com, .example.org, example.net:8443"`; none for "".

    Raises ValueError with a sentence for what is no host name, an address or a whole top-level
    domain.
    """
    return tuple(_read_host(entry.strip()) for entry in text.split(",") if entry.strip())


def _read_host(entry: str) -> Host:
    name, colon, port = entry.lower().partition(":")
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name.removeprefix(".")):
        raise ValueError(
            f"{entry!r} is no host name, such as images.example.com, .example.com or "
            "example.com:8443"
        )
    if name.startswith(".") and "." not in name[1:]:
        raise ValueError(f"{entry!r} would allow a whole top-level domain")
    if colon and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ValueError(f"{entry!r} has no port from 1 to 65535")
    return Host(name, int(port) if colon else None)


def is_public(address: str) -> bool:
    """Whether an IP address is of the internet at large, and not of a network that only this
    machine or its neighbours reach."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and ip not in _GIVEN_OUT:
        return False
    return not any(ip in network for network in _NOT_PUBLIC)


def look_up(host: str) -> list[str]:
    """All addresses of a name. Raises OSError."""
    # With the dot it is the whole name, and no search domain of this machine is tried behind it.
    found = socket.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """Raises OSError."""
    return socket.create_connection((address, port), seconds)


@dataclass(frozen=True)
class Fetcher:
    """Fetches from `hosts` only, within `seconds` for all of it, up to `max_bytes`."""

    hosts: tuple[Host, ...]
    allow_http: bool
    seconds: float
    max_bytes: int
    agent: str = "emotion-recognition"
    resolve: Resolve = look_up
    connect: Connect = connect
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def fetch(self, url: str) -> bytes:
        """The file that a URL names.

        Raises UnusableUrl for a URL, or a redirect, to where nothing is fetched from, FetchFailed
        and FetchTimedOut for a host that gives no file, and ImageTooLarge.
        """
        deadline = _Deadline(self.seconds)
        try:
            for _ in range(1 + MAX_REDIRECTS):
                data, location = self._get(url, deadline)
                if location is None:
                    return data
                url = urljoin(url, location)
        except TimeoutError as error:
            raise FetchTimedOut(f"the URL gave no file within {self.seconds:g} s") from error
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed("the certificate of the URL's host does not hold") from error
        # http.client reads some broken chunks as ValueError.
        except (OSError, HTTPException, ValueError) as error:
            raise FetchFailed("the URL's host cannot be reached or breaks off") from error
        raise UnusableUrl(f"the URL redirects more than {MAX_REDIRECTS} times")

    def _get(self, url: str, deadline: "_Deadline") -> tuple[bytes, str | None]:
        """What one URL answers: a file, or where it redirects to."""
        parts, host, port = self._checked(url)
        with self._connected(parts.scheme, host, port, deadline) as connection:
            connection.settimeout(deadline.left())
            connection.sendall(self._request(parts, host, port))
            wire = _Wire(connection, deadline, self.max_bytes + OVERHEAD)
            with HTTPResponse(wire, method="GET") as response:  # type: ignore[arg-type]
                response.begin()
                location = response.headers.get("Location")
                if response.status in REDIRECTS and location:
                    return b"", location
                return self._body(response), None

    def _checked(self, url: str) -> tuple[SplitResult, str, int]:
        """The parts of a URL, its host and port. Raises UnusableUrl where it is not allowed."""
        if len(url) > MAX_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
            raise UnusableUrl(
                f"a URL has up to {MAX_URL} printable ASCII characters; percent-encode others, and "
                "write an international host name in its xn-- form"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UnusableUrl("this is no URL") from error
        schemes = ("https", "http") if self.allow_http else ("https",)
        if parts.scheme not in schemes:
            raise UnusableUrl(f"a URL must begin with {' or '.join(f'{it}://' for it in schemes)}")
        if "@" in parts.netloc:
            raise UnusableUrl("a URL must not hold a user name or password")
        host = (parts.hostname or "").removesuffix(".")
        if not _NAME.fullmatch(host):
            raise UnusableUrl("a URL must name its host, and not by an address")
        port = PORTS[parts.scheme] if port is None else port
        if not any(allowed.covers(host, port, parts.scheme) for allowed in self.hosts):
            raise UnusableUrl("this service fetches nothing from the URL's host and port")
        return parts, host, port

    def _connected(self, scheme: str, host: str, port: int, deadline: "_Deadline") -> socket.socket:
        """A connection to an address that was checked. Raises UnusableUrl and OSError."""
        addresses = list(dict.fromkeys(_within(deadline, self.resolve, host)))
        # One that is not public is enough: an honest name has none, and which one is connected to
        # must not be a matter of luck.
        if not all(is_public(address) for address in addresses):
            raise UnusableUrl("the URL's host is not at a public address")
        connection = self._first_that_connects(addresses, port, deadline)
        if scheme == "http":
            return connection
        try:
            connection.settimeout(deadline.left())
            return self.tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def _first_that_connects(
        self, addresses: Sequence[str], port: int, deadline: "_Deadline"
    ) -> socket.socket:
        failure = OSError("no address")
        for tried, address in enumerate(addresses):
            try:
                # Each has its share: one that swallows everything leaves time for the next.
                return self.connect(address, port, deadline.left() / (len(addresses) - tried))
            except OSError as error:
                failure = error
        raise failure

    def _request(self, parts: SplitResult, host: str, port: int) -> bytes:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {host}" if port == PORTS[parts.scheme] else f"Host: {host}:{port}",
            f"User-Agent: {self.agent}",
            "Accept: image/*",
            "Accept-Encoding: identity",
            "Connection: close",
        ]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _body(self, response: HTTPResponse) -> bytes:
        if response.status != 200:
            raise FetchFailed(f"the URL's host answers with status {response.status}, not 200")
        # Nothing compressed was asked for, and nothing is inflated here.
        coding = response.headers.get("Content-Encoding", "identity").lower()
        transfer = response.headers.get("Transfer-Encoding", "chunked").lower()
        if (coding, transfer) != ("identity", "chunked"):
            raise FetchFailed("the URL's host sends the file in an encoding not asked for")
        data = bytearray()
        # What Content-Length promises is refused before it is read, and what comes is counted.
        while (response.length or 0) + len(data) <= self.max_bytes:
            part = response.read(AT_ONCE)
            data += part
            if not part:
                if response.length:
                    raise FetchFailed("the file ends before the length that its host told")
                if not data:
                    raise FetchFailed("the URL's host answers with an empty file")
                return bytes(data)
        raise _too_large(self.max_bytes)


class _Deadline:
    """A moment some seconds from now, for all that is done until then."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0. Raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Wire(io.RawIOBase):
    """What comes in, as http.client reads it: until the deadline, whoever drips byte by byte, and
    up to `limit` bytes, wherever they stand (headers, trailers, chunks of absurd sizes)."""

    def __init__(self, connection: socket.socket, deadline: _Deadline, limit: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._limit = limit
        self._left = limit

    def makefile(self, mode: str) -> io.BufferedReader:
        """As of a socket, which http.client takes this for."""
        return io.BufferedReader(self, AT_ONCE)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _too_large(self._limit - OVERHEAD)
        return count


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"the URL gives more than {max_bytes} bytes, which is what is allowed")


def _within(deadline: _Deadline, resolve: Resolve, host: str) -> Sequence[str]:
    """`resolve` in a thread of its own, for nothing else can put an end to waiting for it. The
    thread ends when the resolver gives up, so there are only a few for each that waits here."""
    found: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found.put(resolve(host))
        except Exception as error:  # raised below, where somebody waits for it
            found.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left())
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(answer, Exception):
        raise answer
    return answer

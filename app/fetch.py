"""Fetches images by URL from allowed hosts, with limits on time and size.

The fetcher must not reach services inside the operator's network. For each URL and each redirect it

1. checks the scheme, host and port,
2. resolves the host and checks that all addresses are public,
3. connects to one of the checked addresses. A second lookup could return a different address (DNS
   rebinding). TLS verifies the certificate against the host name.

This module opens the socket and writes the request; http.client parses the response. requests and
urllib3 are not used: they resolve host names themselves, and their time limits apply to each read
instead of the whole request. The fetcher reads no environment variables, stores no cookies and
sends no credentials.
"""

import io
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
from app.fetch_policy import HOST_NAME, PORTS, Host, is_public

MAX_URL = 2048
MAX_REDIRECTS = 3
REDIRECTS = {301, 302, 303, 307, 308}
READ_BYTES = 65_536
OVERHEAD = 1_000_000  # received bytes besides the file: headers and the framing of chunks

_PRINTABLE = re.compile(r"[\x21-\x7e]+")

Resolve = Callable[[str], Sequence[str]]
Connect = Callable[[str, int, float], socket.socket]


def resolve_host(host: str) -> list[str]:
    """Return all addresses of a host name. Raises OSError."""
    # The trailing dot makes the name absolute, so the resolver does not try its search domains.
    entries = socket.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in entries]


def connect(address: str, port: int, seconds: float) -> socket.socket:
    """Open a TCP connection within `seconds`. Raises OSError."""
    return socket.create_connection((address, port), seconds)


@dataclass(frozen=True)
class Fetcher:
    """Fetches files of at most `max_bytes` from `hosts`, each within `seconds` in total."""

    hosts: tuple[Host, ...]
    allow_http: bool
    seconds: float
    max_bytes: int
    agent: str = "emotion-recognition"
    resolve: Resolve = resolve_host
    connect: Connect = connect
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def fetch(self, url: str) -> bytes:
        """Fetch the file at `url`.

        Raises UnusableUrl if the URL or a redirect is not allowed, FetchFailed or FetchTimedOut if
        the host returns no file, and ImageTooLarge.
        """
        deadline = _Deadline(self.seconds)
        try:
            for _ in range(1 + MAX_REDIRECTS):
                data, location = self._get(url, deadline)
                if location is None:
                    return data
                url = urljoin(url, location)
        except TimeoutError as error:
            raise FetchTimedOut(
                f"the host of the URL did not send the file within {self.seconds:g} s: try again"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed("the TLS certificate of the host of the URL is not valid") from error
        # http.client raises ValueError for some malformed chunks.
        except (OSError, HTTPException, ValueError) as error:
            raise FetchFailed(
                "the host of the URL cannot be reached or closed the connection too early"
            ) from error
        raise UnusableUrl(f"the URL redirects more than {MAX_REDIRECTS} times: use its final URL")

    def _get(self, url: str, deadline: "_Deadline") -> tuple[bytes, str | None]:
        """Request one URL. Return (file, None), or (b"", target of the redirect)."""
        parts, host, port = self._parse_url(url)
        with self._open_connection(parts.scheme, host, port, deadline) as connection:
            connection.settimeout(deadline.remaining())
            connection.sendall(self._request(parts, host, port))
            reader = _LimitedReader(connection, deadline, self.max_bytes + OVERHEAD)
            with HTTPResponse(reader, method="GET") as response:  # type: ignore[arg-type]
                response.begin()
                location = response.headers.get("Location")
                if response.status in REDIRECTS and location:
                    return b"", location
                return self._body(response), None

    def _parse_url(self, url: str) -> tuple[SplitResult, str, int]:
        """Return (parts, host, port) of a URL. Raises UnusableUrl if the URL is not allowed."""
        if len(url) > MAX_URL or not _PRINTABLE.fullmatch(url) or "\\" in url:
            raise UnusableUrl(
                f"the URL must have at most {MAX_URL} printable ASCII characters: percent-encode "
                "others, and write an international host name in its xn-- form"
            )
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UnusableUrl("the URL is malformed") from error
        schemes = ("https", "http") if self.allow_http else ("https",)
        if parts.scheme not in schemes:
            prefixes = " or ".join(f"{scheme}://" for scheme in schemes)
            raise UnusableUrl(f"the URL must begin with {prefixes}")
        if "@" in parts.netloc:
            raise UnusableUrl("the URL must not contain a user name or password")
        host = (parts.hostname or "").removesuffix(".")
        if not HOST_NAME.fullmatch(host):
            raise UnusableUrl("the URL must contain a host name, not an IP address")
        port = PORTS[parts.scheme] if port is None else port
        if not any(allowed.covers(host, port, parts.scheme) for allowed in self.hosts):
            raise UnusableUrl(
                "this service does not fetch from the host and port of the URL: send the image "
                "itself, or ask the operator to allow the host (EMOTION_FETCH_HOSTS)"
            )
        return parts, host, port

    def _open_connection(
        self, scheme: str, host: str, port: int, deadline: "_Deadline"
    ) -> socket.socket:
        """Return a connection to a checked address. Raises UnusableUrl and OSError."""
        addresses = list(dict.fromkeys(_resolve_within(deadline, self.resolve, host)))
        # A single private address is enough to reject the host. Legitimate public names have no
        # private address. Checking only the connected address would make the result depend on the
        # address that answers first.
        if not all(is_public(address) for address in addresses):
            raise UnusableUrl("the host of the URL is not at a public address")
        connection = self._connect_to_any(addresses, port, deadline)
        if scheme == "http":
            return connection
        try:
            connection.settimeout(deadline.remaining())
            return self.tls.wrap_socket(connection, server_hostname=host)
        except BaseException:
            connection.close()
            raise

    def _connect_to_any(
        self, addresses: Sequence[str], port: int, deadline: "_Deadline"
    ) -> socket.socket:
        failure = OSError("no address")
        for tried, address in enumerate(addresses):
            try:
                # Share the time equally, so that an address that never answers leaves time for the
                # next one.
                seconds = deadline.remaining() / (len(addresses) - tried)
                return self.connect(address, port, seconds)
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
            raise FetchFailed(
                f"the host of the URL responded with status {response.status}, not 200"
            )
        # The request asks for an uncompressed file. Decompression could exceed the size limit.
        coding = response.headers.get("Content-Encoding", "identity").lower()
        transfer = response.headers.get("Transfer-Encoding", "chunked").lower()
        if (coding, transfer) != ("identity", "chunked"):
            raise FetchFailed(
                "the host of the URL sent the file in an encoding that is not supported"
            )
        data = bytearray()
        # `response.length` is the unread part of Content-Length, or None. A file that is too large
        # is rejected before it is read if its length is known, and otherwise while it is being
        # read.
        while (response.length or 0) + len(data) <= self.max_bytes:
            part = response.read(READ_BYTES)
            data += part
            if not part:
                if response.length:
                    raise FetchFailed("the file is shorter than its Content-Length")
                if not data:
                    raise FetchFailed("the host of the URL returned an empty file")
                return bytes(data)
        raise _too_large(self.max_bytes)


class _Deadline:
    """The end of one fetch, including its redirects. `remaining` can be passed to `settimeout`."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the remaining seconds, more than 0. Raises TimeoutError after the deadline."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining


class _LimitedReader(io.RawIOBase):
    """Reads a socket for http.client, until a deadline and up to `limit` bytes.

    The deadline also applies to a host that sends single bytes slowly. The limit counts all
    received bytes: headers, trailers and the framing of chunks too.
    """

    def __init__(self, connection: socket.socket, deadline: _Deadline, limit: int) -> None:
        self._connection = connection
        self._deadline = deadline
        self._limit = limit
        self._remaining_bytes = limit

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the buffered reader. http.client calls this method as on a socket."""
        return io.BufferedReader(self, READ_BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        self._connection.settimeout(self._deadline.remaining())
        count = self._connection.recv_into(buffer)
        self._remaining_bytes -= count
        if self._remaining_bytes < 0:
            raise _too_large(self._limit - OVERHEAD)
        return count


def _too_large(max_bytes: int) -> ImageTooLarge:
    return ImageTooLarge(f"the file at the URL has more than the allowed {max_bytes} bytes")


def _resolve_within(deadline: _Deadline, resolve: Resolve, host: str) -> Sequence[str]:
    """Call `resolve` and stop waiting at the deadline. Raises TimeoutError and its exceptions.

    `resolve` runs in a new thread, because the resolver of the system has no time limit that a
    caller can set. The thread ends when the resolver gives up, so the number of such threads
    stays small.
    """
    results: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    def put_result() -> None:
        try:
            results.put(resolve(host))
        except Exception as error:  # raised again by the waiting thread
            results.put(error)

    threading.Thread(target=put_result, name="resolve", daemon=True).start()
    try:
        result = results.get(timeout=deadline.remaining())
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(result, Exception):
        raise result
    return result

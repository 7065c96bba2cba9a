"""A simulated internet for tests: HTTP servers on this machine with scripted responses, and a
resolver that gives their names public addresses."""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import trustme

from app.fetch import Fetcher
from app.fetch_policy import parse_hosts

ADDRESS, OTHER_ADDRESS = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
# Bytes to send, or a function that writes to the connection.
Response = bytes | Callable[[socket.socket], None]


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole response. Content-Length is added unless the headers define the length."""
    if not any(header.lower().startswith(("content-length", "transfer-")) for header in headers):
        headers = (*headers, f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return http_response(b"", f"Location: {location}", status=status)


class Server:
    """Sends the response that `responses` has for the path of a request, and records the heads."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.responses: dict[str, Response] = {}
        self.heads: list[str] = []
        self.stopped = threading.Event()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def stop(self) -> None:
        self.stopped.set()
        with socket.create_connection(("127.0.0.1", self.port)):
            pass  # wakes the thread that accepts connections
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def drip(self, start: bytes, repeated: bytes, seconds: float = 0.02) -> Response:
        """Send `start`, and then `repeated` every `seconds`, until the client disconnects."""

        def send(connection: socket.socket) -> None:
            connection.sendall(start)
            while not self.stopped.wait(seconds):
                connection.sendall(repeated)

        return send

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.stopped.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._respond, args=[connection]))
            self._threads[-1].start()

    def _respond(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (part := connection.recv(65_536)):
                        return
                    head += part
                self.heads.append(head.decode("ascii"))
                scripted = self.responses[head.split()[1].partition(b"?")[0].decode()]
                if isinstance(scripted, bytes):
                    connection.sendall(scripted)
                else:
                    scripted(connection)


@dataclass
class Internet:
    """The addresses of `names`, and a record of all lookups and connections.

    Connections to the ports 80 and 8080 reach `plain`, all others `secure`, at any address.
    """

    secure: Server
    plain: Server
    tls: ssl.SSLContext
    names: dict[str, Callable[[], Sequence[str]]] = field(default_factory=dict)
    resolved: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, f"secret: {host} is not known to 10.0.0.53")
        return self.names[host]()

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append((address, port))
        server = self.plain if port in (80, 8080) else self.secure
        return socket.create_connection(("127.0.0.1", server.port), seconds)

    def fetcher(self, hosts: str = "images.example.com", **changes: object) -> Fetcher:
        """Return a fetcher with the checks of the service that uses this network."""
        fetcher = Fetcher(
            parse_hosts(hosts),
            allow_http=False,
            seconds=30,
            max_bytes=100_000,
            resolve=self.resolve,
            connect=self.connect,
            tls=self.tls,
        )
        return replace(fetcher, **changes)  # type: ignore[arg-type]


def open_internet() -> Internet:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.example.com", "cdn.example.net").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    internet = Internet(Server(server_side), Server(), client_side)
    for name in ("images.example.com", "cdn.example.net", "wrong.example.com"):
        internet.names[name] = lambda: [ADDRESS]
    return internet

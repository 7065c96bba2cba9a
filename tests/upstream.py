"""Hosts of the internet, as far as tests need them: servers on this machine that answer what a test
says, and a network on which their names have public addresses."""

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import trustme

from app.fetch import Fetcher, read_hosts

ADDRESS, OTHER_ADDRESS = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
Answer = bytes | Callable[[socket.socket], None]


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An answer with its length, unless the headers say one."""
    if not any(header.lower().startswith(("content-length", "transfer-")) for header in headers):
        headers = (*headers, f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1") + body


def to(location: str, status: str = "302 Found") -> bytes:
    return whole(b"", f"Location: {location}", status=status)


class Server:
    """Answers each request by what `answers` has for its path, and keeps the heads of requests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
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
            pass  # wakes the one who accepts
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def drip(self, start: bytes, again: bytes, seconds: float = 0.02) -> Answer:
        """`start`, and then `again` and again, until the client goes."""

        def answer(connection: socket.socket) -> None:
            connection.sendall(start)
            while not self.stopped.wait(seconds):
                connection.sendall(again)

        return answer

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.stopped.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._answer, args=[connection]))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
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
                answer = self.answers[head.split()[1].partition(b"?")[0].decode()]
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                else:
                    answer(connection)


@dataclass
class Internet:
    """Which names have which addresses, and who was asked and connected to. Connections to port 80
    and 8080 reach `plain`, all others `secure`, whatever the address."""

    secure: Server
    plain: Server
    tls: ssl.SSLContext
    names: dict[str, Callable[[], Sequence[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)

    def resolve(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, f"secret: {host} is not known to 10.0.0.53")
        return self.names[host]()

    def connect(self, address: str, port: int, seconds: float) -> socket.socket:
        self.connected.append((address, port))
        server = self.plain if port in (80, 8080) else self.secure
        return socket.create_connection(("127.0.0.1", server.port), seconds)

    def fetcher(self, hosts: str = "images.example.com", **changes: object) -> Fetcher:
        """One that checks all that the service's own checks, on this network."""
        usual = Fetcher(
            read_hosts(hosts),
            allow_http=False,
            seconds=30,
            max_bytes=100_000,
            resolve=self.resolve,
            connect=self.connect,
            tls=self.tls,
        )
        return replace(usual, **changes)  # type: ignore[arg-type]


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

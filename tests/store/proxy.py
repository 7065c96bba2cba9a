"""A TCP proxy for PostgreSQL that can stop forwarding, or close a connection at COMMIT."""

import select
import socket
import threading
from contextlib import suppress

from sqlalchemy import make_url


class Proxy:
    """Forwards connections to `target`.

    While `frozen` is set, the proxy forwards nothing. It closes a connection after the client has
    sent the bytes `cut_at`.
    """

    def __init__(self, target: str) -> None:
        url = make_url(target)
        self._target = (url.host, url.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = url.set(host="127.0.0.1", port=self._listener.getsockname()[1]).render_as_string(
            hide_password=False
        )
        self.frozen = threading.Event()
        self.cut_at: bytes | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        threads = []
        while not self._closed.is_set():
            if select.select([self._listener], [], [], 0.05)[0]:
                client, _ = self._listener.accept()
                threads.append(threading.Thread(target=self._forward, args=(client,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join(10)

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, suppress(OSError):
            while not self._closed.is_set():
                for source in select.select([client, server], [], [], 0.05)[0]:
                    data = source.recv(65536)
                    if self.frozen.is_set():
                        continue
                    if not data:
                        return
                    (server if source is client else client).sendall(data)
                    if self.cut_at and source is client and self.cut_at in data:
                        server.recv(65536)  # wait for the commit
                        return

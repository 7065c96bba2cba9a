"""A reverse proxy on the same machine, in front of a service without an API key."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from attacks.result import Result, Skip, counted
from attacks.target import JPEG, JSON, PHOTO, target
from testbed.nginx import Nginx, find_nginx
from testbed.ports import free_port

UNAUTHORIZED = 401
_CREATED = 201
_SITES = {
    "nginx with `proxy_pass` only": "",
    "nginx that sends X-Real-IP": "proxy_set_header X-Real-IP $remote_addr;",
    "nginx that sends X-Forwarded-For": (
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    ),
    "nginx that passes the Host on": "proxy_set_header Host $host;",
}
_SITE = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass {url};
        {extra}
    }}
}}
"""


def without_key(quick: bool) -> Iterator[Result]:
    """Read, post and delete through nginx."""
    binary = find_nginx()
    if not binary:
        raise Skip("nginx is not installed")
    with target() as service:
        if service.post().status != _CREATED:
            raise RuntimeError("a post without the proxy was not answered 201")
        for name, extra in _SITES.items():
            with _nginx(binary, service.folder, service.url, extra) as address:
                statuses = [
                    service.request("GET", "/v1/images", address=address).status,
                    service.request("GET", "/v1/images/1", address=address).status,
                    service.request("GET", "/v1/faces", address=address).status,
                    service.request("POST", "/v1/images", PHOTO, JPEG, address=address).status,
                    service.request("POST", "/index", b"{}", JSON, address=address).status,
                    service.request("DELETE", "/v1/images/1", address=address).status,
                    service.request("DELETE", "/v1/images?min_faces=0", address=address).status,
                ]
            yield Result(
                f"{name}, no API key exists",
                len(statuses),
                counted(statuses),
                "every request answered 401",
                set(statuses) == {UNAUTHORIZED},
            )


@contextlib.contextmanager
def _nginx(binary: str, folder: Path, url: str, extra: str) -> Iterator[tuple[str, int]]:
    port = free_port()
    nginx = Nginx(binary, folder, _SITE.format(port=port, url=url, extra=extra))
    nginx.start()
    try:
        yield "127.0.0.1", port
    finally:
        nginx.stop()

"""A reverse proxy on the same machine, in front of a service for which no key was made."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from attacks.result import Result, Skip, counted
from attacks.target import JPEG, JSON, PHOTO, target

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
_CONFIGURATION = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {url};
            {extra}
        }}
    }}
}}
"""


def without_key(quick: bool) -> Iterator[Result]:
    """Reading, posting and erasing through nginx."""
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not binary:
        raise Skip("nginx is not installed")
    with target() as it:
        if it.post().status != _CREATED:
            raise RuntimeError("a client on this machine may not post")
        for name, extra in _SITES.items():
            with _nginx(binary, it.folder, it.url, extra) as address:
                statuses = [
                    it.ask("GET", "/v1/images", address=address).status,
                    it.ask("GET", "/v1/images/1", address=address).status,
                    it.ask("GET", "/v1/faces", address=address).status,
                    it.ask("POST", "/v1/images", PHOTO, JPEG, address=address).status,
                    it.ask("POST", "/index", b"{}", JSON, address=address).status,
                    it.ask("DELETE", "/v1/images/1", address=address).status,
                    it.ask("DELETE", "/v1/images?min_faces=0", address=address).status,
                ]
            yield Result(
                f"{name}, no key made",
                len(statuses),
                counted(statuses),
                "every request answered 401",
                set(statuses) == {UNAUTHORIZED},
            )


@contextlib.contextmanager
def _nginx(binary: str, folder: Path, url: str, extra: str) -> Iterator[tuple[str, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Debian's nginx switches to a user who may not read root's temporary folders.
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(folder=folder, user=user, port=port, url=url, extra=extra)
    )
    command = [binary, "-c", str(file), "-p", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield "127.0.0.1", port
    finally:
        subprocess.run([*command, "-s", "stop"], check=False, capture_output=True)
        end = time.monotonic() + 10
        while (folder / "nginx.pid").exists() and time.monotonic() < end:
            time.sleep(0.02)

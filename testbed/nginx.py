"""Runs nginx with a given site in a separate folder."""

import os
import shutil
import subprocess
import time
from pathlib import Path

_MAIN = """
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""
_STOP_SECONDS = 10


def find_nginx() -> str | None:
    """Return the path of the nginx program, or None if it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class Nginx:
    """An nginx process with `site`, the `server` blocks of the configuration.

    The configuration, the log and temporary files are in `folder`.
    """

    def __init__(self, binary: str, folder: Path, site: str) -> None:
        self.folder = folder
        self._binary = binary
        (folder / "site.conf").write_text(site)
        # Debian's nginx switches to a user without access to temporary folders of root.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))

    def start(self) -> None:
        """Start nginx. Raises RuntimeError if nginx rejects the configuration or warns about it."""
        for arguments in (["-t"], []):
            process = self._run(*arguments)
            if process.returncode != 0 or "warn" in process.stderr:
                raise RuntimeError(process.stderr)

    def stop(self) -> None:
        """Stop nginx and wait until the process has ended."""
        self._run("-s", "stop")
        end = time.monotonic() + _STOP_SECONDS
        while (self.folder / "nginx.pid").exists() and time.monotonic() < end:
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """The content of the error log."""
        return (self.folder / "error.log").read_text()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._binary, "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

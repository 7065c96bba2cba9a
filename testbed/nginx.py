"""nginx with a site of the caller's, as a process of its own in a folder of its own."""

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
    """nginx that serves `site`, the `server` blocks of its configuration.

    Its configuration, log and temporary files are in `folder`.
    """

    def __init__(self, binary: str, folder: Path, site: str) -> None:
        self.folder = folder
        self._binary = binary
        (folder / "site.conf").write_text(site)
        # Debian's nginx switches to a user who may not read root's temporary folders.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))

    def start(self) -> None:
        """Start it. Raises RuntimeError if nginx rejects the configuration or warns about it."""
        for arguments in (["-t"], []):
            done = self._run(*arguments)
            if done.returncode != 0 or "warn" in done.stderr:
                raise RuntimeError(done.stderr)

    def stop(self) -> None:
        """Stop it, and wait until its process has ended."""
        self._run("-s", "stop")
        end = time.monotonic() + _STOP_SECONDS
        while (self.folder / "nginx.pid").exists() and time.monotonic() < end:
            time.sleep(0.02)

    @property
    def log(self) -> str:
        """The error log so far."""
        return (self.folder / "error.log").read_text()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._binary, "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

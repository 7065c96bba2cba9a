"""Runs the command `emotions` in a pseudo terminal and in a pipe."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time

COMMAND = [sys.executable, "-m", "emotions.cli"]
SECONDS = 30
FORMS = ["table", "json", "csv"]
ONCE = ["--once", "--interval", "0.05"]
BUFFERED = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}


class Terminal:
    """A terminal of `columns` by 40 characters that runs the command `emotions`."""

    def __init__(self, *arguments, columns=80, **environment):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        ignored = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        variables = {name: text for name, text in os.environ.items() if name not in ignored}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**variables, "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - one system call
        )
        os.close(slave)
        self.text = ""

    def type(self, text):
        os.write(self._master, text.encode())

    def read_until(self, expected=None):
        """Read until the text `expected` appears, or to the end."""
        deadline = time.monotonic() + SECONDS
        while expected is None or expected not in self.text:
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"no {expected!r} in {self.text!r}")
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the process has closed the terminal
                data = b""
            if not data:
                assert expected is None, self.text
                break
            self.text += data.decode("utf-8", "replace")
        return self.text

    def end(self):
        """Wait for the end. Returns the exit status and all lines."""
        self.read_until()
        status = self.process.wait(SECONDS)
        os.close(self._master)
        return status, self.text.replace("\r\n", "\n").splitlines()


def piped(*arguments, **environment):
    """Run the command with its output in a pipe. Returns the finished process."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        env=BUFFERED | environment,
        timeout=SECONDS,
        check=False,
    )


def _take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

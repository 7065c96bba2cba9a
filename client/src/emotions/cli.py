"""The command `emotions`.

Exit status: 0 success, 1 failure with a message, 2 invalid command line, 130 Ctrl-C. Ctrl-C is the
usual way to end `emotions watch`, which then exits with 0.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

try:
    import click
    import rich  # noqa: F401
except ImportError:  # optional dependencies, which the library does not need
    sys.exit("the command requires click and rich: pip install 'emotions-client[cli]'")

from emotions.commands.analyse import analyse, mood
from emotions.commands.choices import aggregators, detectors, models, pipelines
from emotions.commands.command_client import CommandClient
from emotions.commands.live import live
from emotions.commands.numbers import Decimal
from emotions.commands.output import Failed, message_of
from emotions.commands.stored import delete, history, summary
from emotions.commands.watching import watch
from emotions.connection import checked_base_url, checked_header_value
from emotions.errors import EmotionError

INTERRUPTED = 130  # the exit status that shells report for Ctrl-C
MAX_TIMEOUT = 86_400  # seconds


class Group(click.Group):
    """Converts the errors of commands to messages and exit statuses."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EmotionError as error:
            raise Failed(message_of(error)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click exits without a message
            _discard_output()
            raise Failed(f"the output cannot be written: {message_of(error)}") from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server", default="http://127.0.0.1:5000", envvar="EMOTIONS_SERVER", show_default=True,
    show_envvar=True, help="address of the service",
)  # fmt: skip
@click.option("--key", envvar="EMOTIONS_KEY", show_envvar=True, help="API key")
@click.option("--timeout", type=Decimal(0, MAX_TIMEOUT, min_open=True), default=60.0,
              show_default=True, help="seconds to wait for a response")  # fmt: skip
@click.version_option(package_name="emotions-client")
@click.pass_context
def main(context: click.Context, server: str, key: str | None, timeout: float) -> None:
    """Recognise emotions in faces with a self-hosted service."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The terminal's encoding may lack characters of file names.
            stream.reconfigure(errors="backslashreplace")
    _exit_on_second_interrupt(context)
    try:
        checked_base_url(server, name="the address", key_name="--key")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from error
    try:
        key = checked_header_value("the API key", key) if key else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--key") from error
    client = CommandClient(server, key, timeout=(5.0, timeout))
    context.obj = context.with_resource(client)


def _exit_on_second_interrupt(context: click.Context) -> None:
    """Wait for current requests after the first Ctrl-C, and exit immediately after the second."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    def restore() -> None:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, interrupt)
    context.call_on_close(restore)


def _discard_output() -> None:
    """Redirect stdout, so that Python's last flush succeeds even on a full disk."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


for command in (
    analyse, mood, watch, live, history, summary, delete, models, detectors, pipelines, aggregators,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()

"""The command `emotions`.

Exit status: 0 success, 1 something failed and was named, 2 the command line is wrong, 130 Ctrl-C
(except `emotions watch`, which Ctrl-C ends with 0).
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
except ImportError:  # the library alone does without them
    sys.exit("the command needs click and rich: pip install 'emotions-client[cli]'")

from emotions.client import EmotionClient
from emotions.commands.analyse import analyse, mood
from emotions.commands.choices import aggregators, detectors, models, pipelines
from emotions.commands.live import live
from emotions.commands.numbers import Decimal
from emotions.commands.output import Failed, sentence
from emotions.commands.stored import delete, history, summary
from emotions.commands.watching import watch
from emotions.connection import checked_base_url, checked_header_value
from emotions.errors import EmotionError

INTERRUPTED = 130  # as shells report it
LONGEST_WAIT = 86_400  # seconds


class Group(click.Group):
    """Turns what a command raises into a message and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EmotionError as error:
            raise Failed(sentence(error)) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly
            _discard_output()
            raise Failed(f"the output cannot be written: {sentence(error)}") from error


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server", default="http://127.0.0.1:5000", envvar="EMOTIONS_SERVER", show_default=True,
    show_envvar=True, help="address of the service",
)  # fmt: skip
@click.option("--key", envvar="EMOTIONS_KEY", show_envvar=True, help="API key")
@click.option("--timeout", type=Decimal(0, LONGEST_WAIT, min_open=True), default=60.0,
              show_default=True, help="seconds to wait for an answer")  # fmt: skip
@click.version_option(package_name="emotions-client")
@click.pass_context
def main(context: click.Context, server: str, key: str | None, timeout: float) -> None:
    """Recognise emotions in faces, with your own service."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may not fit into the encoding of the terminal.
            stream.reconfigure(errors="backslashreplace")
    _let_a_second_interrupt_kill(context)
    try:
        checked_base_url(server, name="the address", key_name="--key")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from error
    try:
        key = checked_header_value("the API key", key) if key else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--key") from error
    client = EmotionClient(server, key, timeout=(5.0, timeout))
    context.obj = context.with_resource(client)


def _let_a_second_interrupt_kill(context: click.Context) -> None:
    """Let the first Ctrl-C wait for the current requests, and the second end the process at
    once."""
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
    """Let Python's last flush succeed when the output cannot be written, as on a full disk."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


for command in (
    analyse, mood, watch, live, history, summary, delete, models, detectors, pipelines, aggregators,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()

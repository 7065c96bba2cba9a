"""Log records of the server. They contain the types of errors but no data that clients sent."""

import logging
import traceback
from types import TracebackType

log = logging.getLogger("app.server")


class ClientDataFilter(logging.Filter):
    """Removes client data from gunicorn's own records: request lines, headers and addresses.

    The message of a warning or an error becomes "server fault", with the type and the source lines
    of the exception. In other records, "…" replaces all arguments that are not integers.

    Use it in running workers only, because it also removes the reason for a failed start.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            error = record.exc_info[1] if record.exc_info else None
            record.msg, record.args = "server fault", ()
            record.kind = type(error).__name__
            if error is not None:
                record.where = _frames(error.__traceback__)
        elif isinstance(record.args, tuple):
            record.args = tuple(arg if isinstance(arg, int) else "…" for arg in record.args)
        record.exc_info = record.exc_text = None
        return True


def log_refusal(kind: str, status: int) -> None:
    """Log a request that the server refused before it reached the application."""
    log.warning("request refused", extra={"kind": kind, "status": status})


def log_fault(error: BaseException) -> None:
    """Log an internal error. The message of the error is left out: it may contain client data."""
    extra = {"kind": type(error).__name__, "where": _frames(error.__traceback__)}
    log.error("server fault", extra=extra)


def _frames(stack: TracebackType | None) -> str:
    """Return the source lines of a traceback, without values."""
    return "".join(traceback.format_tb(stack))

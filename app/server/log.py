"""Log records of the server: the kind of a fault, and nothing that a client sent."""

import logging
import traceback
from types import TracebackType

log = logging.getLogger("app.server")


class KindsOnly(logging.Filter):
    """Removes from gunicorn's own records what a client may have sent: request lines, headers,
    addresses. For running workers only: it would also remove the reason of a failed start."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            error = record.exc_info[1] if record.exc_info else None
            record.msg, record.args = "server fault", ()
            record.kind = type(error).__name__
            if error is not None:
                record.where = _frames(error.__traceback__)
        elif isinstance(record.args, tuple):
            record.args = tuple(it if isinstance(it, int) else "…" for it in record.args)
        record.exc_info = record.exc_text = None
        return True


def log_refusal(kind: str, status: int) -> None:
    """Log a request that the server itself refused."""
    log.warning("request refused", extra={"kind": kind, "status": status})


def log_fault(error: BaseException) -> None:
    """Log a fault of the server, without the message of the error, which may quote the client."""
    extra = {"kind": type(error).__name__, "where": _frames(error.__traceback__)}
    log.error("server fault", extra=extra)


def _frames(found: TracebackType | None) -> str:
    """The source lines of a traceback, without values."""
    return "".join(traceback.format_tb(found))

"""What the server logs of a client's mistake: the kind of fault, and nothing that it sent."""

import logging
import traceback
from types import TracebackType

log = logging.getLogger("app.server")


class KindsOnly(logging.Filter):
    """Takes out of gunicorn's own messages what may be a client's: request lines, headers,
    addresses. Meant for worker processes that have started, whose faults are all of requests."""

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
    """The one line about a request that the server itself refused."""
    log.warning("request refused", extra={"kind": kind, "status": status})


def log_fault(error: BaseException) -> None:
    """A fault of this service, without the error's message, which may quote the client."""
    extra = {"kind": type(error).__name__, "where": _frames(error.__traceback__)}
    log.error("server fault", extra=extra)


def _frames(found: TracebackType | None) -> str:
    """Source lines only: no values."""
    return "".join(traceback.format_tb(found))

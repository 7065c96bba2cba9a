"""Answers one request in a thread: runs the application and writes its response."""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from gunicorn.http import wsgi

from app.server.connection import Connection
from app.server.log import log_fault, log_refusal
from app.server.refusals import Refusal

_FAULT = Refusal(500, "ServerFault", "something went wrong; the log has it")


def answer(
    conn: Connection, application: Callable[..., Any], cfg: Any, *, stopping: bool
) -> tuple[bool, bool]:
    """Returns (whether the connection can be used again, whether the response is whole)."""
    given = conn.outbox.given
    try:
        return _run(conn, application, cfg, stopping), True
    except Refusal as refusal:
        log_refusal(refusal.kind, refusal.status)
        return False, _send_refusal(conn, refusal)
    except OSError:  # the client is gone
        return False, False
    except BaseException as error:
        log_fault(error)
        # Once some of a response was sent, a reset alone can say that it is not whole.
        return False, conn.outbox.given == given and _send_refusal(conn, _FAULT)


def _send_refusal(conn: Connection, refusal: Refusal) -> bool:
    conn.refused = True
    with contextlib.suppress(OSError):
        conn.outbox.sendall(refusal.response())
        return True
    return False


def _run(conn: Connection, application: Callable[..., Any], cfg: Any, stopping: bool) -> bool:
    """Returns whether the connection can be used again. Raises OSError where the client is gone,
    Refusal for malformed chunks, and what the application raises."""
    body, outbox = conn.body(), conn.outbox
    taken_for_socket = cast(socket.socket, outbox)
    response: Any
    response, environ = wsgi.create(conn.request, taken_for_socket, conn.client, conn.server, cfg)
    environ["wsgi.multithread"] = True
    environ["wsgi.input"] = body
    environ["emotion.began"] = time.perf_counter() - (time.monotonic() - conn.since)
    if stopping:
        response.force_close()
    pieces = application(environ, response.start_response)
    try:
        length = None if response._omits_body else response.response_length
        if length is None and not response._omits_body:
            outbox.begin_stream()
        for piece in pieces:
            response.write(piece)
        if length is not None and response.sent < length:
            raise RuntimeError("the response is shorter than it said")
        response.close()
    finally:
        if hasattr(pieces, "close"):
            pieces.close()
    return not response.should_close()

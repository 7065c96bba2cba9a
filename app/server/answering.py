"""Runs the application for one request, in a thread, and writes its response."""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from gunicorn.http import wsgi

from app.server.connection import Connection, State
from app.server.log import log_fault, log_refusal
from app.server.refusals import Refusal, server_fault


def answer(
    conn: Connection, application: Callable[..., Any], cfg: Any, *, stopping: bool
) -> tuple[bool, bool]:
    """Respond to the current request of the connection.

    Return (whether the connection can be reused, whether the response is complete).
    """
    if conn.state is State.CLOSED:  # it was closed while the request waited for a thread
        return False, False
    accepted_before = conn.outbox.accepted
    try:
        return _run(conn, application, cfg, stopping), True
    except Refusal as refusal:
        log_refusal(refusal.kind, refusal.status)
        return False, _send_refusal(conn, refusal)
    except OSError:  # the client is gone
        return False, False
    except BaseException as error:
        log_fault(error)
        # If a part of the response was sent, only a reset tells the client that the response is
        # incomplete.
        nothing_sent = conn.outbox.accepted == accepted_before
        return False, nothing_sent and _send_refusal(conn, server_fault())


def _send_refusal(conn: Connection, refusal: Refusal) -> bool:
    """Return whether the refusal was sent or is in the outbox."""
    conn.refused = True
    with contextlib.suppress(OSError):
        conn.outbox.sendall(refusal.response())
        return True
    return False


def _run(conn: Connection, application: Callable[..., Any], cfg: Any, stopping: bool) -> bool:
    """Run the application and write its response. Return whether the connection can be reused.

    Raises OSError when the client is gone, Refusal for malformed chunks, and the errors of the
    application.
    """
    body, outbox = conn.body(), conn.outbox
    socket_like = cast(socket.socket, outbox)
    response: Any
    response, environ = wsgi.create(conn.request, socket_like, conn.client, conn.server, cfg)
    environ["wsgi.multithread"] = True
    environ["wsgi.input"] = body
    # `since` is on the clock of time.monotonic. The application uses time.perf_counter.
    environ["emotion.began"] = time.perf_counter() - (time.monotonic() - conn.since)
    if stopping:
        response.force_close()
    chunks = application(environ, response.start_response)
    try:
        length = None if response._omits_body else response.response_length
        if length is None and not response._omits_body:
            outbox.begin_stream()
        for chunk in chunks:
            response.write(chunk)
        if length is not None and response.sent < length:
            raise RuntimeError("the response is shorter than its Content-Length")
        response.close()
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    return not response.should_close()

"""Limits how many responses are streamed at a time.

A stream, such as a CSV export, holds a thread for as long as its client reads. Further streams are
answered with 503, so that slow clients cannot hold all threads.
"""

import threading

from flask import Flask, Response

from app.api.problems import problem_response
from app.errors import Busy
from app.settings import SPARE_THREADS

MOST_STREAMS = SPARE_THREADS // 2


def init_streams(app: Flask) -> None:
    """Call it last: functions that run after a request run in reverse order, so that a refusal gets
    the headers of all responses, and is counted and logged."""
    slots = threading.BoundedSemaphore(MOST_STREAMS)

    @app.after_request
    def limit(response: Response) -> Response:
        if not response.is_streamed or response.content_length is not None:
            return response
        if not slots.acquire(blocking=False):
            response.close()
            return problem_response(Busy("as many exports as possible are being sent: try again"))
        response.call_on_close(slots.release)
        return response

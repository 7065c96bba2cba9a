"""Limits the number of concurrent streamed responses.

A streamed response, for example a CSV export, holds a thread until its client has read everything.
Requests beyond the limit get 503, so that slow clients cannot hold all threads.
"""

import threading

from flask import Flask, Response

from app.api.problems import problem_response
from app.errors import Busy
from app.settings import SPARE_THREADS

MAX_STREAMS = SPARE_THREADS // 2


def init_streams(app: Flask) -> None:
    """Limit the streamed responses of `app`. Must run after the other init functions.

    Flask runs after_request functions in reverse order, so the 503 also gets the common headers and
    is counted and logged.
    """
    slots = threading.BoundedSemaphore(MAX_STREAMS)

    @app.after_request
    def limit_streams(response: Response) -> Response:
        if not response.is_streamed or response.content_length is not None:
            return response
        if not slots.acquire(blocking=False):
            response.close()
            return problem_response(Busy("too many concurrent exports: try again later"))
        response.call_on_close(slots.release)
        return response

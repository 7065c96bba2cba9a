"""One line in the log for each request: never names of files, keys or anything of a picture."""

import logging
import time

from flask import Flask, Response, g, request

log = logging.getLogger(__name__)


def init_log(app: Flask) -> None:
    @app.after_request
    def write(response: Response) -> Response:
        # The route and not the path, whose arguments are the client's.
        log.info(
            "request",
            extra={
                "request_id": g.request_id,
                "method": request.method if request.url_rule else None,
                "route": request.url_rule.rule if request.url_rule else None,
                "status": response.status_code,
                "milliseconds": round(1000 * (time.perf_counter() - g.began), 1),
                "faces": g.get("faces"),
            },
        )
        return response

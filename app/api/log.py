"""Logs one record for each request, without file names, secrets or anything of an image.

app.logs adds the id of the request and of the key.
"""

import logging
import time

from flask import Flask, Response, g, request

log = logging.getLogger(__name__)

PROBES = {"/healthz", "/readyz", "/metrics"}


def init_log(app: Flask) -> None:
    @app.after_request
    def write(response: Response) -> Response:
        # The route and not the path, whose arguments are the client's.
        route = request.url_rule.rule if request.url_rule else None
        quiet = route in PROBES and response.status_code < 400
        log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            extra={
                "method": request.method if route else None,
                "route": route,
                "status": response.status_code,
                "problem": g.get("problem"),
                "milliseconds": round(1000 * (time.perf_counter() - g.began), 1),
                "faces": g.get("faces"),
            },
        )
        return response

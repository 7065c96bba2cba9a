"""Logs one record per request, without file names, secrets or image data.

app.logs adds the request id and the key id.
"""

import logging
import time

from flask import Flask, Response, g, request

log = logging.getLogger(__name__)

PROBES = {"/healthz", "/readyz", "/metrics"}


def init_log(app: Flask) -> None:
    """Log every request. Successful probes are logged at level DEBUG, other requests at INFO."""

    @app.after_request
    def log_request(response: Response) -> Response:
        # The route pattern is logged instead of the path, because the path contains client data.
        route = request.url_rule.rule if request.url_rule else None
        quiet = route in PROBES and response.status_code < 400
        log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            extra={
                # Clients can send any text as the method of an unknown route.
                "method": request.method if route else None,
                "route": route,
                "status": response.status_code,
                "problem": g.get("problem"),
                "milliseconds": round(1000 * (time.perf_counter() - g.began), 1),
                "faces": g.get("faces"),
            },
        )
        return response

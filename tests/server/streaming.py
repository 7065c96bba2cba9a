"""The service with additional streaming routes, for tests of slow readers."""

import time

from flask import Blueprint, Flask, Response

import app
from app.api.access import PUBLIC, requires
from app.server import worker

PIECE = b"x" * 9_999 + b"\n"
SECRET = "secret of the application"
GRACE_SECONDS = 1.0  # less than in the service, so that the tests end sooner

blp = Blueprint("streaming", __name__)


def create_app() -> Flask:
    """Create the application. gunicorn calls this function in each worker process."""
    worker.GRACE_SECONDS = GRACE_SECONDS
    application = app.create_app()
    application.register_blueprint(blp)
    return application


@blp.get("/stream/<int:pieces>")
@requires(PUBLIC)
def stream(pieces):
    return Response((PIECE for _ in range(pieces)), content_type="text/csv")


@blp.get("/paused/<int:seconds>")
@requires(PUBLIC)
def paused(seconds):
    def lines():
        yield PIECE
        time.sleep(seconds)
        yield PIECE

    return Response(lines(), content_type="text/csv")


@blp.get("/broken")
@requires(PUBLIC)
def broken():
    def lines():
        yield PIECE
        raise RuntimeError(SECRET)

    return Response(lines(), content_type="text/csv")


@blp.get("/short")
@requires(PUBLIC)
def short():
    return Response(iter([PIECE]), content_type="text/csv", headers={"Content-Length": "20000"})

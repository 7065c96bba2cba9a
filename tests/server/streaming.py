"""The service with additional streaming routes, for tests of slow readers."""

import time

from flask import Response

from app.api.access import PUBLIC, requires
from wsgi import app

PIECE = b"x" * 9_999 + b"\n"
SECRET = "secret of the application"


@app.get("/stream/<int:pieces>")
@requires(PUBLIC)
def stream(pieces):
    return Response((PIECE for _ in range(pieces)), content_type="text/csv")


@app.get("/paused/<int:seconds>")
@requires(PUBLIC)
def paused(seconds):
    def lines():
        yield PIECE
        time.sleep(seconds)
        yield PIECE

    return Response(lines(), content_type="text/csv")


@app.get("/broken")
@requires(PUBLIC)
def broken():
    def lines():
        yield PIECE
        raise RuntimeError(SECRET)

    return Response(lines(), content_type="text/csv")


@app.get("/short")
@requires(PUBLIC)
def short():
    return Response(iter([PIECE]), content_type="text/csv", headers={"Content-Length": "20000"})

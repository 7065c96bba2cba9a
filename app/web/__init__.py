"""The page at /: plain files that use the public API only and ask nobody else."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from app.api.access import PUBLIC, needs

ASSETS = Path(__file__).parent / "assets"
# Stricter than that of the other answers: no style but that of a file, pictures that were chosen.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

blp = Blueprint("web", __name__)


@blp.get("/")
@needs(PUBLIC)  # it holds nobody's data; what it asks for needs a key as from anybody
def page() -> Response:
    return asset("index.html")


@blp.get("/assets/<path:file_name>")
@needs(PUBLIC)
def asset(file_name: str) -> Response:
    response = send_from_directory(ASSETS, file_name, max_age=0)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Cache-Control"] = "no-cache"  # asked each time whether it is still the newest
    return response

"""The web page at /: static files that use only the public API of this service."""

from pathlib import Path

from flask import (
    Blueprint,
    Response,
    make_response,
    render_template,
    request,
    send_from_directory,
)

from app.api.access import PUBLIC, requires
from app.api.root_path import link_base

ASSETS = Path(__file__).parent / "assets"
# Unlike API responses, the page may load its own scripts and styles, and images of this service
# and of the user (blob:).
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

blp = Blueprint("web", __name__, template_folder="templates")


@blp.get("/")
@requires(PUBLIC)
def page() -> Response:
    # The page contains no data. Its API requests need a key like any other request.
    response = make_response(render_template("index.html", base=link_base()))
    response.add_etag()
    response.make_conditional(request)
    return _secured(response)


@blp.get("/assets/<path:file_name>")
@requires(PUBLIC)
def asset(file_name: str) -> Response:
    return _secured(send_from_directory(ASSETS, file_name, max_age=0))


def _secured(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Cache-Control"] = "no-cache"  # browsers revalidate on each request
    return response

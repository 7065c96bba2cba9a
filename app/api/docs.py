"""/docs: Swagger UI for /openapi.json, without a CDN: flask-swagger-ui has all files."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, render_template, send_from_directory

from app.api.access import PUBLIC, requires
from app.api.root_path import link_base

ASSETS = Path(__file__).parent / "assets"
DIST = Path(flask_swagger_ui.__file__).parent / "dist"

blp = Blueprint("docs", __name__, template_folder="templates")


@blp.get("/docs")
@requires(PUBLIC)
def page() -> str:
    # The page of the package has an inline script, which the content security policy blocks.
    return render_template("docs.html", base=link_base())


@blp.get("/docs/start.js")
@requires(PUBLIC)
def start() -> Response:
    return send_from_directory(ASSETS, "docs.js")


@blp.get("/docs/assets/<path:file_name>")
@requires(PUBLIC)
def asset(file_name: str) -> Response:
    return send_from_directory(DIST, file_name)

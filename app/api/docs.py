"""/docs: Swagger UI over /openapi.json. Its files come with flask-swagger-ui: no CDN."""

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, render_template, send_from_directory

from app.api.access import PUBLIC, needs
from app.api.root_path import link_base

ASSETS = Path(__file__).parent / "assets"
DIST = Path(flask_swagger_ui.__file__).parent / "dist"

blp = Blueprint("docs", __name__, template_folder="templates")


@blp.get("/docs")
@needs(PUBLIC)
def page() -> str:
    # An own page, because the page of the package has an inline script.
    return render_template("docs.html", base=link_base())


@blp.get("/docs/start.js")
@needs(PUBLIC)
def start() -> Response:
    return send_from_directory(ASSETS, "docs.js")


@blp.get("/docs/assets/<path:file_name>")
@needs(PUBLIC)
def asset(file_name: str) -> Response:
    return send_from_directory(DIST, file_name)

"""/openapi.json: the OpenAPI document of the blueprints.

The document is created when it is first requested, because this takes longer than the creation of
the application. It does not depend on the settings, so that one document per process is enough.
"""

from functools import cache
from typing import Any

import flask_smorest
from flask import Flask, Response, jsonify, request

from app.api.access import PUBLIC, requires
from app.api.blueprint import ApiBlueprint
from app.api.documents import ModelRefSchema
from app.api.face_documents import EMOTION, FaceSchema, FullFaceSchema
from app.api.numbers import IdConverter
from app.api.problems import PROBLEM_JSON, ProblemSchema

DESCRIPTION = """
Detects the faces in an image, classifies the emotions of each face, and stores the results.

The probabilities of all emotions are stored. `threshold` only affects the response: it selects the
emotions that the response shows, and it can differ in every request. Errors are
`application/problem+json` (RFC 9457).
"""


class Api(flask_smorest.Api):
    """flask-smorest's API, without its error handlers, and with problem documents as errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_error_handlers(self) -> None:
        """Register no handler: app.api.problems handles every error."""

    def _register_responses(self) -> None:
        # flask-smorest reads this attribute for the error responses that it registers here. Other
        # responses keep the default.
        self.DEFAULT_RESPONSE_CONTENT_TYPE = PROBLEM_JSON
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE


def init_openapi(app: Flask, blueprints: tuple[ApiBlueprint, ...]) -> None:
    """Add the route of the document of `blueprints`."""

    @app.get("/openapi.json")
    @requires(PUBLIC)
    def openapi_json() -> Response:
        # Added for each request, because a proxy may send the root path in a header.
        servers = [{"url": request.script_root or "/"}]
        return jsonify(_document(blueprints) | {"servers": servers})


@cache
def _document(blueprints: tuple[ApiBlueprint, ...]) -> dict[str, Any]:
    # flask-smorest documents the routes of an application. This one answers no requests.
    app = Flask(__name__, static_folder=None)
    app.url_map.converters["int"] = IdConverter
    app.config |= {
        "API_TITLE": "Emotion recognition",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "API_SPEC_OPTIONS": {"info": {"description": DESCRIPTION}},
    }
    api = Api(app)
    for name, schema in (
        ("Face", FaceSchema),
        ("FullFace", FullFaceSchema),
        ("ModelRef", ModelRefSchema),
    ):
        api.spec.components.schema(name, schema=schema)
    api.spec.components.schemas["Face"]["additionalProperties"] = EMOTION
    api.spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    document: dict[str, Any] = api.spec.to_dict()
    return document

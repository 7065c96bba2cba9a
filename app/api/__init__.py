"""The HTTP API: blueprints, error handlers, access control, limits and metrics."""

from flask import Flask

from app.api import aggregators, docs, faces, health, images, legacy, metrics, models
from app.api.access import init_access
from app.api.blueprint import Api
from app.api.documents import ModelRefSchema
from app.api.face_documents import EMOTION, FaceSchema, FullFaceSchema
from app.api.headers import init_headers
from app.api.log import init_log
from app.api.metrics import init_metrics
from app.api.numbers import IdConverter
from app.api.problems import init_problems
from app.api.rates import init_rates
from app.api.request_images import InMemoryRequest
from app.api.streams import init_streams
from app.settings import Settings

DESCRIPTION = """
Detects the faces in an image, classifies the emotions of each face, and stores the results.

The probabilities of all emotions are stored. `threshold` only affects the response: it selects the
emotions that the response shows, and it can differ in every request. Errors are
`application/problem+json` (RFC 9457).
"""
BLUEPRINTS = (
    images.blp, faces.blp, models.blp, aggregators.blp, legacy.blp, health.blp, metrics.blp,
)  # fmt: skip


def init_api(app: Flask, settings: Settings) -> None:
    """Register the API on `app`. Raises SettingError for an invalid setting."""
    app.request_class = InMemoryRequest
    app.url_map.converters["int"] = IdConverter
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the documented order of keys
    app.config |= {
        "API_TITLE": "Emotion recognition",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "API_SPEC_OPTIONS": {"info": {"description": DESCRIPTION}},
    }
    init_problems(app)
    init_metrics(app)
    init_log(app)
    init_headers(app, settings)  # before access and rates: they use forwarded addresses
    init_access(app, settings)
    init_rates(app, settings)
    init_streams(app)
    api = Api(app)
    for name, schema in (
        ("Face", FaceSchema),
        ("FullFace", FullFaceSchema),
        ("ModelRef", ModelRefSchema),
    ):
        api.spec.components.schema(name, schema=schema)
    api.spec.components.schemas["Face"]["additionalProperties"] = EMOTION
    api.spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    for blueprint in BLUEPRINTS:
        api.register_blueprint(blueprint)
    app.register_blueprint(docs.blp)

"""The HTTP API: blueprints, error handlers, access control, limits and metrics."""

from flask import Flask

from app.api import aggregators, docs, faces, health, images, legacy, metrics, models
from app.api.access import init_access
from app.api.headers import init_headers
from app.api.log import init_log
from app.api.metrics import init_metrics
from app.api.numbers import IdConverter
from app.api.openapi import init_openapi
from app.api.problems import init_problems
from app.api.rates import init_rates
from app.api.request_images import InMemoryRequest
from app.api.streams import init_streams
from app.settings import Settings

BLUEPRINTS = (
    images.blp, faces.blp, models.blp, aggregators.blp, legacy.blp, health.blp, metrics.blp,
)  # fmt: skip


def init_api(app: Flask, settings: Settings) -> None:
    """Register the API on `app`. Raises SettingError for an invalid setting."""
    app.request_class = InMemoryRequest
    app.url_map.converters["int"] = IdConverter
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the documented order of keys
    init_problems(app)
    init_metrics(app)
    init_log(app)
    init_headers(app, settings)  # before access and rates: they use forwarded addresses
    init_access(app, settings)
    init_rates(app, settings)
    init_streams(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    init_openapi(app, BLUEPRINTS)
    app.register_blueprint(docs.blp)

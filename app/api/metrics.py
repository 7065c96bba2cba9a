"""/metrics: counts and durations for Prometheus.

Each worker process writes its own metric files, in a folder that the configuration of gunicorn
creates. The worker that handles `GET /metrics` adds up the files.
"""

import time
from collections.abc import Iterable

from flask import Flask, Response, g, request
from flask.views import MethodView
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from app.api.blueprint import ApiBlueprint
from app.api.current import engine
from app.settings import VERSION
from app.store.keys import Right
from app.store.wal import WalCleaner
from app.vision.engine import Engine
from app.vision.types import Analysis

blp = ApiBlueprint("metrics", description="Monitoring")

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
REQUESTS = Counter("emotion_requests", "Completed requests.", ["route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "emotion_request_duration_seconds",
    "Seconds from the first byte of a request to the response.",
    ["route"],
    buckets=SECONDS,
)
IN_FLIGHT = Gauge(
    "emotion_requests_in_flight", "Requests in progress.", multiprocess_mode="livesum"
)
STAGE_SECONDS = Histogram(
    "emotion_stage_duration_seconds",
    "Seconds of a stage of one image: decode, detect, classify, store.",
    ["stage"],
    buckets=SECONDS,
)
ERASURES_PENDING = Gauge(
    "emotion_erasures_pending",
    "Erasures whose rows are still in SQLite's write-ahead log.",
    multiprocess_mode="livesum",
)
IMAGES = Counter("emotion_images", "Analysed images.", ["model", "detector"])
FACES = Counter("emotion_faces", "Faces in analysed images.", ["model", "detector"])
UNMATCHED = "none"  # label of requests without a route


class _Info(Collector):
    """The versions of the service and of the models, as gauges with the value 1."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[GaugeMetricFamily]:
        build = GaugeMetricFamily(
            "emotion_build_info", "Version of the service.", labels=["version"]
        )
        build.add_metric([VERSION], 1)
        yield build
        models = GaugeMetricFamily(
            "emotion_model_info", "Models that can be used.", labels=["model", "version", "sha256"]
        )
        for status in self._engine.models():
            if status.card is not None:
                ref = status.card.ref
                models.add_metric([ref.name, ref.version, ref.sha256], 1)
        yield models


@blp.route("/metrics")
class Metrics(MethodView):
    @blp.requires(Right.METRICS)
    @blp.doc(
        responses={
            "200": {
                "description": "Prometheus text format",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        }
    )
    def get(self) -> Response:
        """Counts and durations since the start of the service, for Prometheus"""
        info = CollectorRegistry()
        info.register(_Info(engine()))
        return Response(
            generate_latest(_registry()) + generate_latest(info), content_type=CONTENT_TYPE_LATEST
        )


def init_metrics(flask_app: Flask) -> None:
    """Count the requests of `flask_app`, and the pending erasures of its WAL cleaner."""
    wal_cleaner: WalCleaner = flask_app.extensions["wal_cleaner"]
    wal_cleaner.on_change = ERASURES_PENDING.set

    @flask_app.before_request
    def begin() -> None:
        IN_FLIGHT.inc()
        g.in_flight = True

    @flask_app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else UNMATCHED
        # Clients can send any method, so without a route the method would be an unbounded label.
        method = request.method if request.url_rule else UNMATCHED
        REQUESTS.labels(route, method, response.status_code).inc()
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - g.began)
        return response

    @flask_app.teardown_request
    def end(_error: BaseException | None) -> None:
        if g.pop("in_flight", False):
            IN_FLIGHT.dec()


def count_analysis(analysis: Analysis, *, created: bool) -> None:
    """Count an analysed image, its faces and the durations of its stages.

    `created` is False for a replay: its faces are logged, but not counted again.
    """
    g.faces = g.get("faces", 0) + len(analysis.faces)
    if not created:
        return
    names = analysis.model.name, analysis.detector
    IMAGES.labels(*names).inc()
    FACES.labels(*names).inc(len(analysis.faces))
    for stage, milliseconds in analysis.timings_ms.items():
        STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)


def _registry() -> CollectorRegistry:
    """Return the counts of all workers, or of this process if multiprocess mode is off."""
    registry = CollectorRegistry()
    try:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:
        return REGISTRY
    return registry

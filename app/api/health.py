"""/healthz and /readyz: alive, and able to serve."""

from typing import Any

from flask.views import MethodView
from werkzeug.exceptions import ServiceUnavailable

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.current import engine, settings
from app.api.schemas import ReadinessSchema, StateSchema
from app.store import queries

blp = ApiBlueprint("health", description="How it is")


@blp.route("/healthz")
class Health(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, StateSchema)
    def get(self) -> Any:
        """Alive: the process answers"""
        return {"status": "alive"}


@blp.route("/readyz")
class Readiness(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, ReadinessSchema)
    @blp.alt_response(503, "SERVICE_UNAVAILABLE")
    def get(self) -> Any:
        """Able to serve: the model is warm and the database at the head revision

        Warms the model where nothing has yet, so it answers 503 only with a reason. Models other
        than the default that cannot be used do not stop the service: they are named, with reasons.
        """
        if engine().problem:
            engine().warm()
        if reason := engine().problem or queries.revision_problem():
            raise ServiceUnavailable(reason)
        ready: dict[str, Any] = {"status": "ready"}
        if settings().keep_pictures:
            ready["keeps_pictures"] = True
        if unusable := engine().unusable:
            ready["unusable_models"] = unusable
        return ready

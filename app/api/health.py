"""/healthz and /readyz: liveness and readiness."""

from dataclasses import dataclass
from typing import Any

from flask.views import MethodView
from marshmallow import fields, missing
from werkzeug.exceptions import ServiceUnavailable

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.current import engine, settings
from app.api.response_schema import ResponseSchema, computed
from app.store import queries

blp = ApiBlueprint("health", description="Liveness and readiness")


@dataclass(frozen=True)
class ServiceState:
    """The state of the service. `unusable_models` maps the names of models to problems."""

    status: str
    keeps_pictures: bool = False
    unusable_models: dict[str, str] | None = None


class StateSchema(ResponseSchema):
    """The JSON of a `ServiceState` without details."""

    status = fields.String(required=True)


class ReadinessSchema(StateSchema):
    """The document of a `ServiceState`."""

    keeps_pictures = computed(fields.Boolean(), lambda it: it.keeps_pictures or missing)
    unusable_models = computed(
        fields.Dict(keys=fields.String(), values=fields.String()),
        lambda it: it.unusable_models or missing,
    )


@blp.route("/healthz")
class Health(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, StateSchema)
    def get(self) -> Any:
        """Liveness: the process responds"""
        return ServiceState("alive")


@blp.route("/readyz")
class Readiness(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, ReadinessSchema)
    @blp.alt_response(503, "SERVICE_UNAVAILABLE")
    def get(self) -> Any:
        """Readiness: the default model is loaded and the database schema is current

        Loads the default model if it is not loaded yet. `detail` of a 503 gives the reason. Other
        models do not affect readiness: `unusable_models` lists the models that cannot be used, with
        the reasons.
        """
        if engine().problem:
            engine().warm_up()
        if reason := engine().problem or queries.revision_problem():
            raise ServiceUnavailable(reason)
        return ServiceState("ready", settings().keep_pictures, engine().unusable)

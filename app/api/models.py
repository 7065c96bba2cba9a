"""/v1/models, /v1/detectors and /v1/pipelines: what a request can select."""

from typing import Any

from flask.views import MethodView
from marshmallow import fields, missing

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.current import engine, settings
from app.api.response_schema import ResponseSchema, computed
from app.vision.detectors import DETECTORS, RECOMMENDED
from app.vision.kinds import KINDS
from app.vision.pipelines import PIPELINES
from app.vision.registry import ModelStatus

blp = ApiBlueprint("models", url_prefix="/v1", description="Models, detectors and pipelines")

TITLE = {"description": "display name"}
DESCRIPTION = {"description": "one or two sentences for users"}
PROBLEM = {"description": "the reason if `ready` is false"}


def _description(status: ModelStatus) -> str:
    if status.card is None:
        return "This model cannot be used at present."
    labels = status.card.labels
    return KINDS[status.kind].description.format(count=len(labels), labels=", ".join(labels))


class ModelSchema(ResponseSchema):
    """The document of a `ModelStatus`."""

    name = fields.String(required=True)
    title = computed(
        fields.String(required=True, metadata=TITLE),
        lambda it: it.name.replace("_", " ").capitalize(),
    )
    description = computed(fields.String(required=True, metadata=DESCRIPTION), _description)
    kind = fields.String(
        required=True,
        metadata={
            "description": "kind of model. A pipeline uses models of one kind: see "
            "`GET /v1/pipelines`",
            "example": "classifier",
        },
    )
    ready = computed(fields.Boolean(required=True), lambda it: it.card is not None)
    default = fields.Boolean(
        required=True, metadata={"description": "whether this is the default model of its kind"}
    )
    problem = computed(
        fields.String(metadata=PROBLEM), lambda it: it.problem if it.card is None else missing
    )
    card = computed(
        fields.Dict(metadata={"description": "the model card if `ready` is true"}),
        lambda it: missing if it.card is None else it.card.document,
    )


class ModelsSchema(ResponseSchema):
    """The document of a list of `ModelStatus`."""

    models = computed(fields.List(fields.Nested(ModelSchema), required=True), list)


class DetectorSchema(ResponseSchema):
    """The document of a pair: the name of a detector, and its problem or None."""

    name = computed(fields.String(required=True), lambda it: it[0])
    ready = computed(fields.Boolean(required=True), lambda it: it[1] is None)
    default = computed(fields.Boolean(required=True), lambda it: it[0] == engine().default_detector)
    recommended = computed(
        fields.Boolean(
            required=True,
            metadata={
                "description": "whether the web page and the command `emotions` use this detector "
                "if it is ready and the user chooses none"
            },
        ),
        lambda it: it[0] == (settings().detector or RECOMMENDED),
    )
    title = computed(
        fields.String(required=True, metadata=TITLE), lambda it: DETECTORS[it[0]].title
    )
    description = computed(
        fields.String(required=True, metadata=DESCRIPTION),
        lambda it: DETECTORS[it[0]].description,
    )
    problem = computed(fields.String(metadata=PROBLEM), lambda it: it[1] or missing)
    min_face_share = computed(
        fields.Float(
            required=True,
            metadata={
                "description": "default minimum face size as a share of the image size: "
                "`min_face_share` times the longer side, or twice `min_face_share` times the "
                "shorter side if this is smaller. `min_face_px` replaces it"
            },
        ),
        lambda it: DETECTORS[it[0]].min_face_share,
    )


class DetectorsSchema(ResponseSchema):
    """The document of a list of pairs for `DetectorSchema`."""

    detectors = computed(fields.List(fields.Nested(DetectorSchema), required=True), list)


class PipelineSchema(ResponseSchema):
    """The document of a pipeline class."""

    name = fields.String(required=True)
    default = computed(
        fields.Boolean(required=True), lambda it: it.name == engine().default_pipeline
    )
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)
    models = computed(
        fields.String(
            required=True, metadata={"description": "kind of the models that the pipeline uses"}
        ),
        lambda it: it.model_kind,
    )
    takes_detector = fields.Boolean(
        required=True, metadata={"description": "whether the option `detector` is allowed"}
    )


class PipelinesSchema(ResponseSchema):
    """The document of a list of pipeline classes."""

    pipelines = computed(fields.List(fields.Nested(PipelineSchema), required=True), list)


@blp.route("/models")
class Models(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, ModelsSchema)
    def get(self) -> Any:
        """Models with their cards: labels, accuracy, licence, intended use"""
        return engine().models()


@blp.route("/detectors")
class Detectors(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, DetectorsSchema)
    def get(self) -> Any:
        """Face detectors"""
        return list(engine().detectors().items())


@blp.route("/pipelines")
class Pipelines(MethodView):
    @blp.requires(PUBLIC)
    @blp.response(200, PipelinesSchema)
    def get(self) -> Any:
        """Analysis pipelines"""
        return list(PIPELINES.values())

"""/v1/models, /v1/detectors and /v1/pipelines: the names that a request can use."""

from typing import Any

from flask.views import MethodView
from marshmallow import fields, missing

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.current import engine
from app.api.shape import Shape, member
from app.vision.detectors import DETECTORS
from app.vision.kinds import KINDS
from app.vision.pipelines import PIPELINES
from app.vision.registry import ModelStatus

blp = ApiBlueprint("models", url_prefix="/v1", description="Names that a request can use")

TITLE = {"description": "short name to show to people"}
DESCRIPTION = {"description": "one or two sentences that help people to choose"}
PROBLEM = {"description": "why it is not ready"}


def _description(status: ModelStatus) -> str:
    if status.card is None:
        return "This model cannot be used at present."
    labels = status.card.labels
    return KINDS[status.kind].description.format(count=len(labels), labels=", ".join(labels))


class ModelSchema(Shape):
    """Its item is a `ModelStatus`."""

    name = fields.String(required=True)
    title = member(
        fields.String(required=True, metadata=TITLE),
        lambda it: it.name.replace("_", " ").capitalize(),
    )
    description = member(fields.String(required=True, metadata=DESCRIPTION), _description)
    kind = fields.String(
        required=True, metadata={"description": "which pipelines take it", "example": "classifier"}
    )
    ready = member(fields.Boolean(required=True), lambda it: it.card is not None)
    default = fields.Boolean(required=True, metadata={"description": "of the models of its kind"})
    problem = member(
        fields.String(metadata=PROBLEM), lambda it: it.problem if it.card is None else missing
    )
    card = member(
        fields.Dict(metadata={"description": "the whole card, where it is ready"}),
        lambda it: missing if it.card is None else it.card.document,
    )


class ModelsSchema(Shape):
    """Its item is the list."""

    models = member(fields.List(fields.Nested(ModelSchema), required=True), list)


class DetectorSchema(Shape):
    """Its item is the name of a detector and what is wrong with it, or None."""

    name = member(fields.String(required=True), lambda it: it[0])
    ready = member(fields.Boolean(required=True), lambda it: it[1] is None)
    default = member(fields.Boolean(required=True), lambda it: it[0] == engine().default_detector)
    title = member(fields.String(required=True, metadata=TITLE), lambda it: DETECTORS[it[0]].title)
    description = member(
        fields.String(required=True, metadata=DESCRIPTION),
        lambda it: DETECTORS[it[0]].description,
    )
    problem = member(fields.String(metadata=PROBLEM), lambda it: it[1] or missing)
    min_face_share = member(
        fields.Float(
            required=True,
            metadata={
                "description": "sets the smallest face that it looks for unless `min_face_px` is "
                "given: this share of the image's longer side, or twice this share of the shorter "
                "side where that is less"
            },
        ),
        lambda it: DETECTORS[it[0]].min_face_share,
    )


class DetectorsSchema(Shape):
    """Its item is the list."""

    detectors = member(fields.List(fields.Nested(DetectorSchema), required=True), list)


class PipelineSchema(Shape):
    """Its item is the class of a pipeline."""

    name = fields.String(required=True)
    default = member(fields.Boolean(required=True), lambda it: it.name == engine().default_pipeline)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)
    models = member(
        fields.String(
            required=True, metadata={"description": "the kind of the models that it takes"}
        ),
        lambda it: it.model_kind,
    )
    takes_detector = fields.Boolean(
        required=True, metadata={"description": "whether `detector` can be chosen"}
    )


class PipelinesSchema(Shape):
    """Its item is the list."""

    pipelines = member(fields.List(fields.Nested(PipelineSchema), required=True), list)


@blp.route("/models")
class Models(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, ModelsSchema)
    def get(self) -> Any:
        """Models with their cards: labels, accuracy, licence, intended use"""
        return engine().models()


@blp.route("/detectors")
class Detectors(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, DetectorsSchema)
    def get(self) -> Any:
        """Face detectors"""
        return list(engine().detectors().items())


@blp.route("/pipelines")
class Pipelines(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, PipelinesSchema)
    def get(self) -> Any:
        """Pipelines, which lead from an image to its faces and their emotions"""
        return list(PIPELINES.values())

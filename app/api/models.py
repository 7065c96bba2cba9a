"""/v1/models, /v1/detectors and /v1/pipelines: what can be asked for."""

from typing import Any

from flask.views import MethodView

from app.api.access import PUBLIC
from app.api.blueprint import ApiBlueprint
from app.api.current import engine
from app.api.schemas import DetectorsSchema, ModelsSchema, PipelinesSchema
from app.vision.detectors import DETECTORS
from app.vision.kinds import KINDS
from app.vision.pipelines import PIPELINES
from app.vision.registry import ModelStatus

blp = ApiBlueprint("models", url_prefix="/v1", description="What can be asked for")


@blp.route("/models")
class Models(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, ModelsSchema)
    def get(self) -> Any:
        """Models with their cards: labels, accuracy, licence, intended use"""
        models = []
        for status in engine().models():
            model = {
                "name": status.name,
                "title": status.name.replace("_", " ").capitalize(),
                "description": _description(status),
                "kind": status.kind,
                "ready": status.card is not None,
                "default": status.default,
            }
            if status.card is None:
                model["problem"] = status.problem
            else:
                model["card"] = status.card.document
            models.append(model)
        return {"models": models}


@blp.route("/detectors")
class Detectors(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, DetectorsSchema)
    def get(self) -> Any:
        """Face detectors"""
        detectors = []
        for name, problem in engine().detectors().items():
            detector = {
                "name": name,
                "ready": problem is None,
                "default": name == engine().default_detector,
                "title": DETECTORS[name].title,
                "description": DETECTORS[name].description,
                "min_face_share": DETECTORS[name].min_face_share,
            }
            detectors.append(detector | ({"problem": problem} if problem else {}))
        return {"detectors": detectors}


@blp.route("/pipelines")
class Pipelines(MethodView):
    @blp.needs(PUBLIC)
    @blp.response(200, PipelinesSchema)
    def get(self) -> Any:
        """Ways from an image to its faces and their emotions"""
        return {
            "pipelines": [
                {
                    "name": made.name,
                    "default": made.name == engine().default_pipeline,
                    "title": made.title,
                    "description": made.description,
                    "models": made.model_kind,
                }
                for made in PIPELINES.values()
            ]
        }


def _description(status: ModelStatus) -> str:
    if status.card is None:
        return "This model cannot be used at present."
    labels = status.card.labels
    return KINDS[status.kind].description.format(count=len(labels), labels=", ".join(labels))

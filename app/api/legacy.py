"""POST /index: the request of the original service, for clients of that service."""

from typing import Any

from flask import request
from flask.views import MethodView

from app.analyse import analyse
from app.api.arguments import LegacyArguments
from app.api.blueprint import ApiBlueprint
from app.api.bodies import LegacyBody
from app.api.current import deadline, engine, run_queued, with_slot
from app.api.documents import LegacySchema, ShownImage
from app.api.idempotency import PARAMETER, idempotent_requests
from app.api.metrics import count_analysis
from app.api.presentation import PresentationOptions
from app.api.request_images import image_from_json
from app.store.keys import Right
from app.vision.request import AnalysisOptions, AnalysisRequest

blp = ApiBlueprint("legacy", description="Compatibility with the original client")


@blp.route("/index")
class Index(MethodView):
    @blp.requires(Right.ANALYSE)
    @with_slot
    @blp.doc(
        parameters=[PARAMETER],
        requestBody={"required": True, "content": {"application/json": {"schema": LegacyBody}}},
    )
    @blp.arguments(LegacyArguments, location="json")
    @blp.response(200, LegacySchema)
    def post(self, options: dict[str, Any]) -> Any:
        """Analyse and store an image for the original client

        The response is the image object of `POST /v1/images` with the additional key
        `"message": "image received"`. `Accept` is ignored, because the original client asks for
        text.
        """
        image = image_from_json(request, options.get("file_name"))
        analysis_request = AnalysisRequest(image, AnalysisOptions(threshold=options["threshold"]))
        (idempotent,) = idempotent_requests([analysis_request])
        analysis, created = analyse(
            engine(), analysis_request, idempotent=idempotent, run=run_queued, deadline=deadline()
        )
        count_analysis(analysis, created=created)
        return ShownImage(analysis, PresentationOptions())

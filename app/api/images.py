"""/v1/images: analyse images, read the stored results, erase them."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from flask import Response, jsonify, request, url_for
from flask.views import MethodView

from app.analyse import analyse, analyse_and_draw
from app.api import idempotency
from app.api.arguments import (
    AnalyseArguments,
    ErasureArguments,
    ImageArguments,
    ImagePageArguments,
    MoodArguments,
    MoodRequest,
    PageRequest,
    PostedOptions,
)
from app.api.blueprint import ApiBlueprint, link_to_next
from app.api.bodies import JsonBody, MultipartBody, UrlBody, binary
from app.api.current import deadline, drawing, engine, run_queued, settings, with_slot
from app.api.documents import (
    Batch,
    BatchSchema,
    ErasureSchema,
    ImagePageSchema,
    ImageSchema,
    ShownImage,
    image_document,
)
from app.api.formats import JSON, Format, Formats
from app.api.metrics import observe
from app.api.mood_documents import MoodSchema
from app.api.problems import as_problem, problem, problem_response
from app.api.request_images import read_images
from app.api.view import ShownPage, View
from app.errors import KeyReused
from app.store import queries
from app.store.idempotency import IdempotentRequest
from app.store.keys import Right
from app.store.records import Filters
from app.vision.image import image_type
from app.vision.mood import mood_of
from app.vision.request import AnalysisOptions, AnalysisRequest, AnyImage
from app.vision.types import Analysis

blp = ApiBlueprint("images", url_prefix="/v1/images", description="Images and their faces")

BIGGEST_ID = 2**63 - 1
BODIES = {
    "multipart/form-data": {"schema": MultipartBody},
    "application/json": {"schema": {"oneOf": [JsonBody, UrlBody]}},
    # Also stands for image/*: generators of clients warn about types with an asterisk.
    "application/octet-stream": binary("application/octet-stream"),
}
# The answer has the type image/… of the file. Generators of clients need one without an asterisk.
KEPT = {media_type: binary(media_type) for media_type in ("application/octet-stream", "image/*")}

Analyses: TypeAlias = list[tuple[AnalysisRequest[AnyImage], IdempotentRequest | None]]
Answer = Callable[
    [AnalysisRequest[AnyImage], IdempotentRequest | None, View], tuple[Analysis, bool, Response]
]
"""Analyses an image. Returns the analysis, whether it was made now, and the response."""


def _as_json(
    analysis_request: AnalysisRequest[AnyImage], idempotent: IdempotentRequest | None, view: View
) -> tuple[Analysis, bool, Response]:
    analysis, created = analyse(
        engine(), analysis_request, idempotent=idempotent, run=run_queued, deadline=deadline()
    )
    return analysis, created, jsonify(image_document(analysis, view))


def _as_drawing(
    media_type: str,
    analysis_request: AnalysisRequest[AnyImage],
    idempotent: IdempotentRequest | None,
    _view: View,
) -> tuple[Analysis, bool, Response]:
    analysis, created, drawn = analyse_and_draw(
        engine(),
        analysis_request,
        media_type=media_type,
        drawing=drawing(),
        idempotent=idempotent,
        run=run_queued,
        deadline=deadline(),
    )
    return analysis, created, Response(drawn, content_type=media_type)


def _drawing(media_type: str) -> Format[Answer]:
    """The annotated image."""
    return Format(media_type, binary(media_type), partial(_as_drawing, media_type))


FORMATS: Formats[Answer] = Formats(
    Format(JSON, {"schema": {"oneOf": [ImageSchema, BatchSchema]}}, _as_json),
    *map(_drawing, ("image/png", "image/jpeg")),
)


@blp.route("")
class Images(MethodView):
    @blp.needs(Right.ANALYSE)
    @with_slot
    @blp.doc(
        parameters=[idempotency.PARAMETER],
        requestBody={"required": True, "content": BODIES},
        responses={
            "201": {"description": "Analysed and stored", "content": FORMATS.content},
            "200": {
                "description": "Analysed, not stored (`store=false`)",
                "content": FORMATS.content,
            },
        },
    )
    @blp.alt_response(502, "BAD_GATEWAY")
    @blp.alt_response(504, "GATEWAY_TIMEOUT")
    @blp.arguments(AnalyseArguments, location="options")
    def post(self, asked: PostedOptions) -> Response:
        """Analyse images and store the results

        Send `multipart/form-data` with one or more files named `image`, a raw body of the type
        `image/…` or `application/octet-stream`, or JSON with base64. If the operator allows hosts,
        JSON may name a `url` instead, from which the image is fetched. JPEG, PNG, WebP, BMP, TIFF,
        GIF (first frame), HEIC/HEIF and AVIF are read.

        Options are query parameters, or fields of the form or the JSON. If both give an option, the
        field counts. An option that the query, the form or the JSON gives twice is refused. A file
        part that is empty and has no file name is ignored. The answer to one image is its image
        object. The answer to several images is `{"images": […], "errors": […]}`: an image that
        fails does not affect the others.
        `Accept: image/png` or `image/jpeg` returns the annotated image instead. With
        `Idempotency-Key` a request can be sent again without storing anything twice; a `url` is
        then not fetched again.
        """
        accepted = FORMATS.negotiate()
        analyses = _analyses(
            read_images(request, max_images=settings().max_images, file_name=asked.file_name),
            asked.options,
        )
        if len(analyses) > 1:
            return SEVERAL.negotiate().make(analyses, asked)
        return _answer_one(*analyses[0], asked, accepted)

    @blp.needs(Right.READ)
    @blp.arguments(ImagePageArguments, location="query")
    @blp.response(200, ImagePageSchema)
    def get(self, asked: PageRequest) -> Any:
        """Stored images, newest first, in the documented JSON

        `threshold` replaces the threshold that each image was stored with. Follow `next_cursor`,
        which is also in the header `Link`, until it is null.
        """
        page = queries.page_of_images(asked.filters, size=asked.size, cursor=asked.cursor)
        return ShownPage(page, asked.view), link_to_next(page.next_cursor)

    @blp.needs(Right.ERASE)
    @blp.arguments(ErasureArguments, location="query")
    @blp.response(200, ErasureSchema)
    def delete(self, filters: Filters) -> Any:
        """Erase all images that match. At least one filter is required"""
        return queries.erase_matching(filters)


@blp.route(f"/<int(max={BIGGEST_ID}):image_id>")
class Image(MethodView):
    @blp.needs(Right.READ)
    @blp.arguments(ImageArguments, location="query")
    @blp.response(200, ImageSchema)
    def get(self, view: View, image_id: int) -> Any:
        """One stored image"""
        return ShownImage(queries.get(image_id), view)

    @blp.needs(Right.ERASE)
    @blp.response(204)
    def delete(self, image_id: int) -> None:
        """Erase an image and all that belongs to it"""
        queries.erase(image_id)


@blp.route(f"/<int(max={BIGGEST_ID}):image_id>/picture")
class KeptPicture(MethodView):
    @blp.needs(Right.READ)
    @with_slot
    @blp.doc(
        responses={
            "200": {"description": "The file as it was sent, with a type image/…", "content": KEPT}
        }
    )
    @blp.alt_response(404, "NOT_FOUND")
    def get(self, image_id: int) -> Response:
        """The file of a stored image, if the operator lets the service keep image files"""
        data = queries.picture(image_id)
        return Response(data, content_type=f"image/{image_type(data).lower()}")


@blp.route(f"/<int(max={BIGGEST_ID}):image_id>/mood")
class ImageMood(MethodView):
    @blp.needs(Right.READ)
    @blp.arguments(MoodArguments, location="query")
    @blp.response(200, MoodSchema)
    def get(self, asked: MoodRequest, image_id: int) -> Any:
        """The mood of the group in one stored image

        The mood is made from the stored faces, so aggregator and filters can change from call to
        call. If no face passes the filters, `mood` is null and `distribution` is empty. If emotions
        are equally probable, the mood is the one with the larger mean over the faces, then the
        first in the model's order.
        """
        return mood_of(
            queries.faces(image_id),
            asked.aggregator,
            min_face_px=asked.min_face_px,
            min_confidence=asked.min_confidence,
        )


def _analyses(images: list[AnyImage], options: AnalysisOptions) -> Analyses:
    """A request for each image, with what identifies it when the client repeats it."""
    requests = [AnalysisRequest(image, options) for image in images]
    return list(zip(requests, idempotency.idempotent_requests(requests), strict=True))


def _answer_one(
    analysis_request: AnalysisRequest[AnyImage],
    idempotent: IdempotentRequest | None,
    asked: PostedOptions,
    accepted: Format[Answer],
) -> Response:
    analysis, created, response = accepted.make(analysis_request, idempotent, asked.view)
    observe(analysis, created=created)
    if asked.options.store:
        response.status_code = 201
        response.location = url_for("images.Image", image_id=analysis.id)
    return response


def _answer_several(analyses: Analyses, asked: PostedOptions) -> Response:
    """Analyse each image separately: an image that fails does not affect the others."""
    engine().pipeline(asked.options)  # a wrong name is an error of the request, not of each image
    images, errors = [], []
    for index in range(len(analyses)):
        # Removed from the list so that its memory is freed before the next one is analysed.
        analysis_request, idempotent = analyses.pop(0)
        try:
            analysis, created = analyse(
                engine(),
                analysis_request,
                idempotent=idempotent,
                run=run_queued,
                deadline=deadline(),
            )
        except KeyReused:  # another request has claimed the key, so nothing of this one is stored
            raise
        except Exception as error:  # the client must learn what was stored, whatever the error
            errors.append((index, analysis_request.image.file_name, as_problem(error)))
        else:
            observe(analysis, created=created)
            images.append(ShownImage(analysis, asked.view))
    if not images:
        fields = [{"field": f"image[{i}]", "message": str(error)} for i, _, error in errors]
        return problem_response(errors[0][2], errors=fields)
    reports = [{"index": i, "file_name": name, **problem(error)} for i, name, error in errors]
    response = jsonify(BatchSchema.document(Batch(images, reports)))
    response.status_code = 201 if asked.options.store else 200
    return response


SEVERAL = Formats(
    Format(JSON, {"schema": BatchSchema}, _answer_several), answer="the answer to several images"
)

"""/v1/images: analyse images, read stored results, erase images."""

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
from app.api.current import deadline, drawing_budget, engine, run_queued, settings, with_slot
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
from app.api.metrics import count_analysis
from app.api.mood_documents import MoodSchema
from app.api.presentation import PresentationOptions, ShownPage
from app.api.problems import as_problem, problem, problem_response
from app.api.request_images import read_images
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

MAX_ID = 2**63 - 1
BODIES = {
    "multipart/form-data": {"schema": MultipartBody},
    "application/json": {"schema": {"oneOf": [JsonBody, UrlBody]}},
    # Also stands for image/*, because client generators warn about types with an asterisk.
    "application/octet-stream": binary("application/octet-stream"),
}
# The response has the image type of the file. The list also has application/octet-stream, because
# client generators need a type without an asterisk.
STORED_FILE = {
    media_type: binary(media_type) for media_type in ("application/octet-stream", "image/*")
}

Analyses: TypeAlias = list[tuple[AnalysisRequest[AnyImage], IdempotentRequest | None]]
Respond = Callable[
    [AnalysisRequest[AnyImage], IdempotentRequest | None, PresentationOptions],
    tuple[Analysis, bool, Response],
]
"""A function that analyses an image. It returns the analysis, True if the image was stored now, and
the response."""


def _as_json(
    analysis_request: AnalysisRequest[AnyImage],
    idempotent: IdempotentRequest | None,
    presentation: PresentationOptions,
) -> tuple[Analysis, bool, Response]:
    analysis, created = analyse(
        engine(), analysis_request, idempotent=idempotent, run=run_queued, deadline=deadline()
    )
    return analysis, created, jsonify(image_document(analysis, presentation))


def _as_annotated_image(
    media_type: str,
    analysis_request: AnalysisRequest[AnyImage],
    idempotent: IdempotentRequest | None,
    _presentation: PresentationOptions,
) -> tuple[Analysis, bool, Response]:
    analysis, created, drawn = analyse_and_draw(
        engine(),
        analysis_request,
        media_type=media_type,
        drawing_budget=drawing_budget(),
        idempotent=idempotent,
        run=run_queued,
        deadline=deadline(),
    )
    return analysis, created, Response(drawn, content_type=media_type)


def _annotated_format(media_type: str) -> Format[Respond]:
    return Format(media_type, binary(media_type), partial(_as_annotated_image, media_type))


FORMATS: Formats[Respond] = Formats(
    Format(JSON, {"schema": {"oneOf": [ImageSchema, BatchSchema]}}, _as_json),
    *map(_annotated_format, ("image/png", "image/jpeg")),
)


@blp.route("")
class Images(MethodView):
    @blp.requires(Right.ANALYSE)
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
    def post(self, posted_options: PostedOptions) -> Response:
        """Analyse images and store the results

        Send `multipart/form-data` with one or more files named `image`, a raw body of type
        `image/…` or `application/octet-stream`, or JSON with base64. JSON can have a `url` instead,
        if the operator allows the host: the service then fetches the image. Supported formats are
        JPEG, PNG, WebP, BMP, TIFF, GIF (first frame), HEIC/HEIF and AVIF.

        Options are query parameters, or fields of the form or the JSON. A field overrides a query
        parameter. An option that is repeated in the query, the form or the JSON is rejected. An
        empty file part without a file name is ignored.

        The response to one image is the image object. The response to several images is
        `{"images": […], "errors": […]}`: a failed image does not affect the others.
        `Accept: image/png` or `image/jpeg` returns the annotated image instead. A request with an
        `Idempotency-Key` can be repeated without storing anything twice. The service does not fetch
        a `url` again for a repeated request.
        """
        preferred = FORMATS.negotiate()
        file_name, max_images = posted_options.file_name, settings().max_images
        # Do not keep a reference to the images, so that each image is freed after its analysis.
        analyses = _analyses(
            read_images(request, max_images=max_images, file_name=file_name), posted_options.options
        )
        if len(analyses) > 1:
            return BATCH_FORMATS.negotiate().respond(analyses, posted_options)
        return _respond_to_one(*analyses[0], posted_options, preferred)

    @blp.requires(Right.READ)
    @blp.arguments(ImagePageArguments, location="query")
    @blp.response(200, ImagePageSchema)
    def get(self, page_request: PageRequest) -> Any:
        """Stored images, newest first

        `threshold` replaces the threshold that is stored with each image. To read all pages, follow
        `next_cursor`, which is also in the `Link` header, until it is null.
        """
        page = queries.page_of_images(
            page_request.filters, size=page_request.size, cursor=page_request.cursor
        )
        return ShownPage(page, page_request.presentation), link_to_next(page.next_cursor)

    @blp.requires(Right.ERASE)
    @blp.arguments(ErasureArguments, location="query")
    @blp.response(200, ErasureSchema)
    def delete(self, filters: Filters) -> Any:
        """Erase all matching images. At least one filter is required"""
        return queries.erase_matching(filters)


@blp.route(f"/<int(max={MAX_ID}):image_id>")
class Image(MethodView):
    @blp.requires(Right.READ)
    @blp.arguments(ImageArguments, location="query")
    @blp.response(200, ImageSchema)
    def get(self, presentation: PresentationOptions, image_id: int) -> Any:
        """One stored image"""
        return ShownImage(queries.get(image_id), presentation)

    @blp.requires(Right.ERASE)
    @blp.response(204)
    def delete(self, image_id: int) -> None:
        """Erase an image, its faces and its file"""
        queries.erase(image_id)


@blp.route(f"/<int(max={MAX_ID}):image_id>/picture")
class KeptPicture(MethodView):  # the operationId `getKeptPicture` contains the class name
    @blp.requires(Right.READ)
    @with_slot
    @blp.doc(
        responses={
            "200": {
                "description": "The original file, with its media type image/…",
                "content": STORED_FILE,
            }
        }
    )
    @blp.alt_response(404, "NOT_FOUND")
    def get(self, image_id: int) -> Response:
        """The original file of a stored image, if the service stores files"""
        data = queries.image_file(image_id)
        return Response(data, content_type=f"image/{image_type(data).lower()}")


@blp.route(f"/<int(max={MAX_ID}):image_id>/mood")
class ImageMood(MethodView):
    @blp.requires(Right.READ)
    @blp.arguments(MoodArguments, location="query")
    @blp.response(200, MoodSchema)
    def get(self, mood_request: MoodRequest, image_id: int) -> Any:
        """The group mood of one stored image

        The mood is computed from the stored faces, so each call can use a different aggregator and
        different filters. If no face passes the filters, `mood` is null and `distribution` is
        empty. Ties are broken by the larger mean over the faces, then by the order of the model's
        labels.
        """
        return mood_of(
            queries.faces(image_id),
            mood_request.aggregator,
            min_face_px=mood_request.min_face_px,
            min_confidence=mood_request.min_confidence,
        )


def _analyses(images: list[AnyImage], options: AnalysisOptions) -> Analyses:
    """Return an analysis request for each image, with the identity of the request for replays."""
    requests = [AnalysisRequest(image, options) for image in images]
    return list(zip(requests, idempotency.idempotent_requests(requests), strict=True))


def _respond_to_one(
    analysis_request: AnalysisRequest[AnyImage],
    idempotent: IdempotentRequest | None,
    posted_options: PostedOptions,
    preferred: Format[Respond],
) -> Response:
    analysis, created, response = preferred.respond(
        analysis_request, idempotent, posted_options.presentation
    )
    count_analysis(analysis, created=created)
    if posted_options.options.store:
        response.status_code = 201
        response.location = url_for("images.Image", image_id=analysis.id)
    return response


def _respond_to_batch(analyses: Analyses, posted_options: PostedOptions) -> Response:
    """Analyse each image independently: store the successful ones, report the failed ones."""
    engine().pipeline(posted_options.options)  # reject an unknown name once, not for each image
    images, errors = [], []
    for index in range(len(analyses)):
        # Removing the image from the list frees its memory before the next one is analysed.
        analysis_request, idempotent = analyses.pop(0)
        try:
            analysis, created = analyse(
                engine(),
                analysis_request,
                idempotent=idempotent,
                run=run_queued,
                deadline=deadline(),
            )
        except KeyReused:  # another request uses the key, so no image of this request is stored
            raise
        except Exception as error:  # the response must still list the stored images
            errors.append((index, analysis_request.image.file_name, as_problem(error)))
        else:
            count_analysis(analysis, created=created)
            images.append(ShownImage(analysis, posted_options.presentation))
    if not images:
        fields = [{"field": f"image[{i}]", "message": str(error)} for i, _, error in errors]
        return problem_response(errors[0][2], errors=fields)
    reports = [{"index": i, "file_name": name, **problem(error)} for i, name, error in errors]
    response = jsonify(BatchSchema.serialize(Batch(images, reports)))
    response.status_code = 201 if posted_options.options.store else 200
    return response


BATCH_FORMATS = Formats(
    Format(JSON, {"schema": BatchSchema}, _respond_to_batch), name="the response to several images"
)

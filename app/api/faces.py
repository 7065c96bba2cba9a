"""/v1/faces and /v1/summary: faces of all images, and counts over time."""

import csv
import io
import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from flask import Response, stream_with_context
from flask.views import MethodView

from app.api.arguments import PageArguments, PageRequest, SummaryArguments, SummaryRequest
from app.api.blueprint import ApiBlueprint, link_to_next
from app.api.csv_cells import without_formulas
from app.api.face_documents import FacePageSchema, FaceRowSchema, ShownFoundFace
from app.api.formats import JSON, Format, Formats
from app.api.mood_documents import ShownSpan, ShownSummary, SummarySchema
from app.api.presentation import PresentationOptions, ShownPage
from app.api.response_schema import Table
from app.errors import EmotionError
from app.store import queries, summary
from app.store.keys import Right
from app.store.records import Filters
from app.timeline import moods_by_span
from app.vision.mood import OverallMood

log = logging.getLogger(__name__)

MAX_CACHED_CELLS = 256

blp = ApiBlueprint("faces", url_prefix="/v1", description="Faces of all images")


def _page(page_request: PageRequest) -> Any:
    page = queries.page_of_faces(
        page_request.filters, size=page_request.size, cursor=page_request.cursor
    )
    return ShownPage(page, page_request.presentation), link_to_next(page.next_cursor)


def _export(page_request: PageRequest) -> Response:
    # This query runs before streaming starts, so that an unreachable database gives a 503.
    emotions = queries.emotion_names()
    lines = csv_lines(page_request.filters, emotions)
    return Response(stream_with_context(lines), content_type="text/csv; charset=utf-8")


FORMATS = Formats(
    Format(JSON, {"schema": FacePageSchema}, _page),
    Format("text/csv", {"schema": {"type": "string"}}, _export),
)


@blp.route("/faces")
class Faces(MethodView):
    @blp.requires(Right.READ)
    @blp.doc(responses={"200": {"description": "OK", "content": FORMATS.content}})
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, FacePageSchema)
    def get(self, page_request: PageRequest) -> Any:
        """Faces of all images, newest image first

        Accepts the filters of `GET /v1/images`. With `Accept: text/csv`, all matching faces are
        streamed without pagination. The CSV has columns for valence, arousal and the probability of
        each emotion. A face that exists from the start to the end of the export appears exactly
        once. The export is complete when the last chunk of the chunked encoding has arrived. If an
        error occurs, the server closes the connection before the last chunk. Text that a
        spreadsheet could evaluate as a formula is preceded by an apostrophe.
        """
        return FORMATS.negotiate().respond(page_request)


@blp.route("/summary")
class Summary(MethodView):
    @blp.requires(Right.READ)
    @blp.arguments(SummaryArguments, location="query")
    @blp.response(200, SummarySchema)
    def get(self, summary_request: SummaryRequest) -> Any:
        """Counts and mean probability for each emotion, by hour, day or model

        A filter on faces restricts both the number of images and the number of faces. With filters
        other than `since`, `until` and `model`, at most 20,000 images may match. A summary has at
        most 10,000 spans. Larger requests are rejected with 422: choose a shorter time with
        `since` and `until`.

        `valence` and `arousal` are means over the faces with a value, or null if all values are
        missing. The `valence` of a `mood` is different: it gives the positive, neutral and
        negative shares of the distribution.

        `mood` adds the unweighted mean of the moods of the images of each span. A filter on faces
        selects images, but does not remove faces from the mood of an image. At most 10,000 images
        with 50,000 faces are read.
        """
        filters, by = summary_request.filters, summary_request.by
        if summary_request.mood is None:
            spans = summary.summarise(filters, by=by)
            return ShownSummary(by, [ShownSpan(span) for span in spans])
        # The moods are computed first, because this step rejects a large request earlier.
        moods = moods_by_span(filters, by=by, aggregator=summary_request.mood)
        spans = summary.summarise(filters, by=by)
        return ShownSummary(
            by, [ShownSpan(span, moods.get(span.span, OverallMood())) for span in spans]
        )


def csv_lines(filters: Filters, emotions: list[str]) -> Iterator[str]:
    """Yield the CSV header, and a line for each face that matches.

    An error during the export is logged and raised again, so that the server closes the connection
    before the last chunk.
    """
    table = Table(FaceRowSchema, emotions)
    escape = lru_cache(MAX_CACHED_CELLS)(without_formulas)  # texts repeat from row to row
    presentation = PresentationOptions()
    yield _csv_line(table.names, escape)
    written = 0
    try:
        for found in queries.all_faces(filters):
            yield _csv_line(table.row(ShownFoundFace(found, presentation)), escape)
            written += 1
    except Exception as error:
        # The messages of database drivers may contain values of the query.
        reason = error if isinstance(error, EmotionError) else type(error).__name__
        log.error("the CSV export failed after %d faces: %s", written, reason)
        raise


def _csv_line(values: list[Any], escape: Callable[[str], str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(
        [escape(value) if isinstance(value, str) else value for value in values]
    )
    return line.getvalue()

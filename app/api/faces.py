"""/v1/faces and /v1/summary: faces across images, and counts over time."""

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
from app.api.face_documents import FacePageSchema, FaceRowSchema, ShownFound
from app.api.formats import JSON, Format, Formats
from app.api.mood_documents import ShownSpan, ShownSummary, SummarySchema
from app.api.shape import Table
from app.api.view import ShownPage, View
from app.errors import EmotionError
from app.store import queries, summary
from app.store.keys import Right
from app.store.records import Filters
from app.timeline import moods_by_span
from app.vision.mood import OverallMood

log = logging.getLogger(__name__)

MOST_CELLS = 256  # escaped texts that an export remembers

blp = ApiBlueprint("faces", url_prefix="/v1", description="Faces across images")


def _page(asked: PageRequest) -> Any:
    page = queries.page_of_faces(asked.filters, size=asked.size, cursor=asked.cursor)
    return ShownPage(page, asked.view), link_to_next(page.next_cursor)


def _export(asked: PageRequest) -> Response:
    # The names are read here and not in the stream, so that a database that is away is a 503.
    lines = csv_lines(asked.filters, queries.emotion_names())
    return Response(stream_with_context(lines), content_type="text/csv; charset=utf-8")


FORMATS = Formats(
    Format(JSON, {"schema": FacePageSchema}, _page),
    Format("text/csv", {"schema": {"type": "string"}}, _export),
)


@blp.route("/faces")
class Faces(MethodView):
    @blp.needs(Right.READ)
    @blp.doc(responses={"200": {"description": "OK", "content": FORMATS.content}})
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, FacePageSchema)
    def get(self, asked: PageRequest) -> Any:
        """Faces across images, those of the newest image first

        Takes the filters of `GET /v1/images`. `Accept: text/csv` streams all faces that match,
        without pages. The CSV has columns for valence, arousal and the probability of each
        emotion. A face that is stored during the whole export is in it exactly once. The export is
        complete when the last chunk of the chunked encoding has arrived; after an error the
        connection is closed without it. Text that a spreadsheet could take for a formula has an
        apostrophe before it.
        """
        return FORMATS.negotiate().make(asked)


@blp.route("/summary")
class Summary(MethodView):
    @blp.needs(Right.READ)
    @blp.arguments(SummaryArguments, location="query")
    @blp.response(200, SummarySchema)
    def get(self, asked: SummaryRequest) -> Any:
        """Counts and mean probability for each emotion, by hour, day or model

        With a filter on faces, images and faces that match it are counted. Filters other than
        `since`, `until` and `model` read each image, at most 20,000 of them. An answer has at most
        10,000 spans. Larger requests are refused with 422: choose a shorter time with `since` and
        `until`.

        `valence` and `arousal` are the means over the faces of the span that have them; null if
        there are none. The `valence` of a `mood` is different: it says how much of the mood's
        distribution is positive, neutral and negative.

        `mood` adds to each span the mean of the moods of its images. Each image that has a mood
        counts alike, with all its faces even if there is a filter on faces. At most 10,000 images
        with 50,000 faces are read.
        """
        if asked.mood is None:
            spans = summary.summarise(asked.filters, by=asked.by)
            return ShownSummary(asked.by, [ShownSpan(span) for span in spans])
        # The moods come first, because they refuse a request that is too large soonest.
        moods = moods_by_span(asked.filters, by=asked.by, aggregator=asked.mood)
        spans = summary.summarise(asked.filters, by=asked.by)
        shown = [ShownSpan(span, moods.get(span.span, OverallMood())) for span in spans]
        return ShownSummary(asked.by, shown)


def csv_lines(filters: Filters, emotions: list[str]) -> Iterator[str]:
    """Yield a header, and a line for each face that matches. An error in between is logged and
    raised again, so that the server closes the connection without the last chunk."""
    table = Table(FaceRowSchema, emotions)
    escape = lru_cache(MOST_CELLS)(without_formulas)  # texts repeat from row to row
    view = View()
    yield _csv_line(table.names, escape)
    written = 0
    try:
        for found in queries.all_faces(filters):
            yield _csv_line(table.row(ShownFound(found, view)), escape)
            written += 1
    except Exception as error:  # the message of a driver's error may quote values of the query
        reason = error if isinstance(error, EmotionError) else type(error).__name__
        log.error("the CSV export broke off after %d faces: %s", written, reason)
        raise


def _csv_line(values: list[Any], escape: Callable[[str], str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(
        [escape(value) if isinstance(value, str) else value for value in values]
    )
    return line.getvalue()

"""/v1/faces and /v1/summary: faces across images, and their sums."""

import csv
import io
import logging
from collections.abc import Iterator
from typing import Any

from flask import Response, stream_with_context
from flask.views import MethodView

from app.api.arguments import PageArguments, PageRequest, SummaryArguments, SummaryRequest
from app.api.blueprint import ApiBlueprint, link_to_next, negotiate
from app.api.csv_cells import without_formulas
from app.api.documents import (
    affect_document,
    face_page_document,
    span_document,
    time_text,
)
from app.api.schemas import FacePageSchema, SummarySchema
from app.errors import EmotionError
from app.store import queries, summary
from app.store.keys import Right
from app.store.records import Filters, FoundFace
from app.timeline import moods_by_span
from app.vision.circumplex import affect_of
from app.vision.mood import OverallMood

log = logging.getLogger(__name__)

blp = ApiBlueprint("faces", url_prefix="/v1", description="Faces across images")

ANSWERS = {
    "application/json": {"schema": FacePageSchema},
    "text/csv": {"schema": {"type": "string"}},
}
CSV_COLUMNS = (
    "image_id",
    "file_name",
    "created_at",
    "model",
    "detector",
    "face_id",
    "x1",
    "y1",
    "x2",
    "y2",
    "detection_score",
    "dominant",
    "valence",
    "arousal",
)


@blp.route("/faces")
class Faces(MethodView):
    @blp.needs(Right.READ)
    @blp.doc(responses={"200": {"description": "OK", "content": ANSWERS}})
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, FacePageSchema)
    def get(self, asked: PageRequest) -> Any:
        """Faces across images, those of the newest first

        Takes the filters of `GET /v1/images`. `Accept: text/csv` streams all that match, without
        pages, with columns for valence and arousal and for the probability of each emotion. A
        face that is stored during the whole export is in it exactly once. The export is complete
        when the last chunk of the chunked encoding has arrived; after an error the connection is
        closed without it. Text that a spreadsheet could take for a formula has an apostrophe
        before it.
        """
        if negotiate("application/json", "text/csv") == "text/csv":
            # Asked here and not in the stream: a database that is away is still a 503.
            lines = csv_lines(asked.filters, queries.emotion_names())
            return Response(stream_with_context(lines), content_type="text/csv; charset=utf-8")
        page = queries.page_of_faces(asked.filters, size=asked.size, cursor=asked.cursor)
        return face_page_document(page, asked.view), link_to_next(page.next_cursor)


@blp.route("/summary")
class Summary(MethodView):
    @blp.needs(Right.READ)
    @blp.arguments(SummaryArguments, location="query")
    @blp.response(200, SummarySchema)
    def get(self, asked: SummaryRequest) -> Any:
        """Counts and mean probability for each emotion, by hour, day or model

        With a filter on faces, images and faces that match it are counted. With filters beside
        `since`, `until` and `model` images are looked at one by one, at most 20,000 of them, and
        there are at most 10,000 spans: what asks for more is answered by 422, and `since` and
        `until` help.

        `valence` and `arousal` are the means over the faces of the span that have them; null if
        there are none. The `valence` of a `mood` is different: it says how much of the mood's
        distribution is positive, neutral and negative.

        `mood` adds to each span the mean of the moods of its images that have one, each of which
        counts alike; with a filter on faces, images are whole all the same. It looks at no more
        than 10,000 images with 50,000 faces.
        """
        if asked.mood is None:
            spans = summary.summarise(asked.filters, by=asked.by)
            return {"by": asked.by, "spans": [span_document(span) for span in spans]}
        # First, for it refuses soonest what is too much.
        moods = moods_by_span(asked.filters, by=asked.by, aggregator=asked.mood)
        spans = summary.summarise(asked.filters, by=asked.by)
        documents = [span_document(span, moods.get(span.span, OverallMood())) for span in spans]
        return {"by": asked.by, "spans": documents}


def csv_lines(filters: Filters, emotions: list[str]) -> Iterator[str]:
    """Yield a header and a line for each face that matches. An error in between is logged and
    raised again, so that the server closes the connection without the last chunk."""
    yield _csv_line([*CSV_COLUMNS, *emotions])
    written = 0
    try:
        for found in queries.all_faces(filters):
            yield _csv_line(_csv_row(found, emotions))
            written += 1
    except Exception as error:  # the message of a driver's error may quote values of the query
        reason = error if isinstance(error, EmotionError) else type(error).__name__
        log.error("the CSV export broke off after %d faces: %s", written, reason)
        raise


def _csv_row(found: FoundFace, emotions: list[str]) -> list[Any]:
    image, face = found.image, found.face
    return [
        image.id,
        image.file_name,
        time_text(image),
        image.model.name,
        image.detector,
        found.number,
        *face.box.xyxy,
        face.detection_score,
        face.dominant,
        *affect_document(affect_of(face.emotions)).values(),
        *(face.emotions.get(emotion) for emotion in emotions),
    ]


def _csv_line(values: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(
        [without_formulas(value) if isinstance(value, str) else value for value in values]
    )
    return line.getvalue()

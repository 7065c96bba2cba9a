"""Use case: the mood of many stored images over time."""

from collections import defaultdict

from app.store.records import Filters
from app.store.summary import faces_by_span
from app.vision.mood import MoodAccumulator, OverallMood, mood_of


def moods_by_span(filters: Filters, *, by: str, aggregator: str) -> dict[str, OverallMood]:
    """Return the mean mood of the matching images for each hour, day or model.

    Images without a mood are ignored. Raises TooWideSpan.
    """
    moods: defaultdict[str, MoodAccumulator] = defaultdict(MoodAccumulator)
    for span, faces in faces_by_span(filters, by=by):
        moods[span].add(mood_of(faces, aggregator))
    return {span: span_moods.overall() for span, span_moods in moods.items()}

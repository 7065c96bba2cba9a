"""The options and filters of requests, and their text in query parameters and form fields."""

from datetime import datetime
from typing import Any, TypedDict

from emotions.sources import storable_name


class Options(TypedDict, total=False):
    """Options of an analysis. The service's defaults apply to options that are omitted or None.

    `detector="none"` treats the whole image as one face. `rotate="auto"` also tries the other
    orientations of an image in which no face is detected. `mood` names the aggregator for the mood
    of the group: see `EmotionClient.aggregators`.
    """

    threshold: float | None
    pipeline: str | None
    model: str | None
    detector: str | None
    min_face_px: float | None
    min_confidence: float | None
    max_faces: int | None
    rotate: str | None
    mood: str | None


class Filters(TypedDict, total=False):
    """Filters for stored images and faces. Filters that are omitted or None are not applied.

    `since` is inclusive, `until` is exclusive.
    """

    emotion: str | None
    min_probability: float | None
    file_name: str | None
    model: str | None
    since: datetime | str | None
    until: datetime | str | None
    min_faces: int | None


def parameters(**values: Any) -> dict[str, str]:
    """Return the values as text. Skips values that are None. Naive datetimes are local time."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def filter_parameters(filters: Filters) -> dict[str, str]:
    """Return the filters as text, with the file name in the form that the service stores."""
    texts = parameters(**filters)
    if "file_name" in texts:
        texts["file_name"] = storable_name(texts["file_name"])
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone().isoformat()  # the service requires a time zone
    return str(value)

"""Errors of the domain. They are independent of HTTP: app/api/problems.py maps them to responses.

The class name is part of the API: the problem `type` and `title` and the metrics are made from it.
Clients see the messages, so these never contain paths, SQL or tracebacks.
"""

from collections.abc import Iterable


class EmotionError(Exception):
    """Base class of the errors that the service raises intentionally.

    `field` is the name of the invalid request field, or None.
    """

    field: str | None = None


class NoImage(EmotionError):
    """The request has no image."""


class MalformedInput(EmotionError):
    """The request cannot be parsed: malformed base64, JSON or multipart."""


class TooManyImages(EmotionError):
    """The request has more images than allowed."""

    field = "image"


class UnsupportedImageType(EmotionError):
    """The file is not an image of a supported type."""

    field = "image"


class ImageTooLarge(EmotionError):
    """The image has more bytes or pixels than allowed. This is checked before decoding."""

    field = "image"


class UndecodableImage(EmotionError):
    """The file starts like an image but is corrupt or truncated."""

    field = "image"


class UnusableUrl(EmotionError):
    """The URL or the target of a redirect is malformed or not allowed."""

    field = "url"


class FetchFailed(EmotionError):
    """The host of the URL cannot be reached or returns no file."""

    field = "url"


class FetchTimedOut(EmotionError):
    """The host of the URL does not return the file in time."""

    field = "url"


class UnknownName(EmotionError):
    """The requested model, detector or pipeline is unknown. The message lists the known names."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {self.field} {name!r}; known: {', '.join(sorted(known))}")


class UnknownModel(UnknownName):
    field = "model"


class UnknownDetector(UnknownName):
    field = "detector"


class UnknownPipeline(UnknownName):
    field = "pipeline"


class UnfitDetector(EmotionError):
    """The request chooses a detector that its pipeline does not use."""

    field = "detector"


class TooMuchWork(EmotionError):
    """The image has too many pixels or candidate faces for the detector to search it in time."""

    field = "detector"


class CannotDraw(EmotionError):
    """The annotated image cannot be drawn.

    It is too large for the requested file type, or the request is a replay whose image came by URL.
    """


class TooWideSpan(EmotionError):
    """The summary covers too many images or time spans to compute it within a request."""

    field = "since"


class KeyReused(EmotionError):
    """The Idempotency-Key was already used for a different request."""


class InvalidCursor(EmotionError):
    """The cursor was not issued by this service."""

    field = "cursor"


class MissingKey(EmotionError):
    """The request requires an API key and has none."""


class WrongKey(EmotionError):
    """The API key of the request is malformed, unknown, revoked or expired."""


class MissingRight(EmotionError):
    """The API key lacks the right that the request requires."""


class CrossSiteRequest(EmotionError):
    """A page of another site sent the request, and the request has no API key."""


class UnknownHost(EmotionError):
    """The request has no API key, and its Host header names a host that is not allowed."""


class NotFound(EmotionError):
    """The store has nothing with this id."""


class ModelUnavailable(EmotionError):
    """The model is known but cannot be used: its card or weights are missing or invalid."""


class InvalidCard(ModelUnavailable):
    """The card.json of the model is invalid."""


class TooManyRequests(EmotionError):
    """The client sent more requests than allowed. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(EmotionError):
    """All slots for image requests are in use."""


class DeadlineExceeded(EmotionError):
    """The request missed its deadline. It stored nothing."""


class StoreUnavailable(EmotionError):
    """The database does not respond or its disk is full. The request stored nothing.

    `for_operator` states the cause and the remedy, for the log and for commands; clients must not
    see it. `connection_lost` is True when the connection ended with this error.
    """

    def __init__(
        self, message: str, *, for_operator: str | None = None, connection_lost: bool = False
    ) -> None:
        super().__init__(message)
        self.for_operator = for_operator
        self.connection_lost = connection_lost


class OutcomeUnknown(EmotionError):
    """The connection to the database was lost during COMMIT: the result may be stored or not."""

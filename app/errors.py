"""What can go wrong, in the words of the domain. No HTTP here: api/problems.py has the one table
that turns these into answers.

Every message is a sentence fit for a client: it never holds a path, SQL or a traceback.
"""

from collections.abc import Iterable


class EmotionError(Exception):
    """Base of everything this service raises on purpose.

    `field` names the request field at fault, where there is one.
    """

    field: str | None = None


class NoImage(EmotionError):
    """The request holds no picture."""


class MalformedInput(EmotionError):
    """The request cannot be parsed: broken base64, JSON or multipart."""


class TooManyImages(EmotionError):
    """More pictures in one request than allowed."""

    field = "image"


class UnsupportedImageType(EmotionError):
    """The bytes are not of an image type that is served."""

    field = "image"


class ImageTooLarge(EmotionError):
    """More bytes or pixels than allowed; judged before decoding."""

    field = "image"


class UndecodableImage(EmotionError):
    """The bytes start like an image and are not a whole one."""

    field = "image"


class UnusableUrl(EmotionError):
    """A URL from which nothing is fetched: it, or where it redirects to, is not allowed."""

    field = "url"


class FetchFailed(EmotionError):
    """The host of a URL cannot be reached or gives no file."""

    field = "url"


class FetchTimedOut(EmotionError):
    """The host of a URL does not give the file in time."""

    field = "url"


class UnknownName(EmotionError):
    """A request names a thing that does not exist; the message lists those that do."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {self.field} {name!r}; known: {', '.join(sorted(known))}")


class UnknownModel(UnknownName):
    field = "model"


class UnknownDetector(UnknownName):
    field = "detector"


class UnknownPipeline(UnknownName):
    field = "pipeline"


class UnfitDetector(EmotionError):
    """A detector was named beside a pipeline that takes none."""

    field = "detector"


class TooMuchWork(EmotionError):
    """The image has more pixels or candidate faces than the detector can search in time."""

    field = "detector"


class CannotDraw(EmotionError):
    """The annotated picture does not fit into the file type that was asked for."""


class TooWideSpan(EmotionError):
    """A summary of more images or spans than can be answered while somebody waits."""

    field = "since"


class KeyReused(EmotionError):
    """An Idempotency-Key came before with another request."""


class InvalidCursor(EmotionError):
    """The cursor was not made by this service."""

    field = "cursor"


class MissingKey(EmotionError):
    """The request shows no key and needs one."""


class WrongKey(EmotionError):
    """The request shows something that is no key, or none that holds now."""


class MissingRight(EmotionError):
    """The key may not do what the request asks for."""


class CrossSiteRequest(EmotionError):
    """A page of another site sent the request, and the request shows no key."""


class UnknownHost(EmotionError):
    """A request without a key has a Host that the operator has not allowed."""


class NotFound(EmotionError):
    """Nothing is stored under that id."""


class ModelUnavailable(EmotionError):
    """A model is known but cannot be used: its card or its weights are broken or missing."""


class InvalidCard(ModelUnavailable):
    """A card.json that does not describe a usable model."""


class TooManyRequests(EmotionError):
    """The client asked more often than it may; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(EmotionError):
    """All places for requests with pictures are taken."""


class DeadlineExceeded(EmotionError):
    """A request was not done in the time that a request may take. Nothing of it was kept."""


class StoreUnavailable(EmotionError):
    """The database does not answer or its disk is full. Nothing of the request was kept.

    `for_operator` says the cause and what to do about it, for the log and for commands; clients
    must not see it. `connection_lost`: whether the connection ended with this error.
    """

    def __init__(
        self, message: str, *, for_operator: str | None = None, connection_lost: bool = False
    ) -> None:
        super().__init__(message)
        self.for_operator = for_operator
        self.connection_lost = connection_lost


class OutcomeUnknown(EmotionError):
    """The connection to the database was lost during COMMIT. The request may have been stored or
    not."""

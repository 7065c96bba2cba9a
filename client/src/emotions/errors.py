"""Exceptions of the client. All of them derive from EmotionError."""

from collections.abc import Mapping
from typing import Any

from emotions.deprecation import renamed_attributes

# Old names of exceptions, which still work.
RENAMED = {
    "BadPicture": "BadImage",
    "ServiceAway": "ServiceUnreachable",
    "TookTooLong": "DeadlineExceeded",
    "UnreadablePicture": "UnreadableImage",
}
_OPTIONS = frozenset(
    {"threshold", "pipeline", "model", "detector", "min_face_px", "min_confidence", "max_faces"}
    | {"rotate", "mood", "store", "view"}
)


class EmotionError(Exception):
    """Base class of all errors. The message is written for users. `tries` is the number of times
    that the request was sent."""

    tries = 0


class UnreadableImage(EmotionError):
    """The client cannot read the file, the PIL image or the array. No request was sent."""


class NotAnImage(UnreadableImage, TypeError):
    """The object is not an image: not a path, bytes, a binary file, a PIL image or an array."""


class ServiceUnreachable(EmotionError):
    """The service cannot be reached, or every connection to it was interrupted."""


class TimedOut(EmotionError):
    """The service did not respond within the client's timeout."""


class BadReply(EmotionError):
    """The response does not come from this service: its JSON is missing or unexpected."""


class Problem(EmotionError):
    """The service rejected a request and gave the reason (RFC 9457 problem+json).

    `status` is the HTTP status, `type` the stable URN of the problem. `errors` lists
    `{"field", "message"}` for each invalid field. `request_id` is also in the service's log.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.type = str(document.get("type", "about:blank"))
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.errors: list[dict[str, str]] = list(document.get("errors") or [])
        self.request_id: str | None = document.get("request_id")
        super().__init__(self.detail)


class BadImage(Problem):
    """The file is not a supported image, or it is truncated or damaged."""


class TooLarge(Problem):
    """The request exceeds the service's limits for bytes, pixels or images."""


class InvalidRequest(Problem):
    """The service does not know an option or a filter, or does not accept its value.

    `concerns_every_image` is true if the service would reject every other image for the same
    reason, for example for an unknown model.
    """

    @property
    def concerns_every_image(self) -> bool:
        # The problem too-much-work has the field `detector`, but depends on the size of the image.
        is_image_specific = self.type.rpartition(":")[2] == "too-much-work"
        names_an_option = any(error.get("field") in _OPTIONS for error in self.errors)
        return names_an_option and not is_image_specific


class KeyRefused(Problem):
    """The API key is missing, invalid, expired or revoked."""


class NotAllowed(Problem):
    """The API key lacks the required right."""


class NotFound(Problem):
    """The service has no image with this id, or does not know the path.

    `is_unknown_path` is true if the path is unknown, for example because `base_url` is wrong.
    """

    @property
    def is_unknown_path(self) -> bool:
        return self.type == "about:blank"


class Conflict(Problem):
    """The Idempotency-Key was already used with another image or other options."""


class FetchFailed(Problem):
    """The service could not fetch an image from its URL."""


class RateLimited(Problem):
    """The API key has exceeded its rate limit, and all retries failed."""


class ServiceBusy(Problem):
    """The service, its model or its database is not available, and all retries failed."""


class DeadlineExceeded(ServiceBusy):
    """The service exceeded its time limit for this image, and all retries failed."""


class ServiceError(Problem):
    """The service had an internal error."""


_BY_TYPE: dict[str, type[Problem]] = {
    "no-image": BadImage,
    "unsupported-image-type": BadImage,
    "undecodable-image": BadImage,
    "fetch-failed": FetchFailed,
    "fetch-timed-out": FetchFailed,
    "took-too-long": DeadlineExceeded,
}
_BY_STATUS: dict[int, type[Problem]] = {
    401: KeyRefused,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: RateLimited,
    503: ServiceBusy,
}


def problem(status: int, document: Mapping[str, Any]) -> Problem:
    """Return the exception for a problem document. Unknown types are mapped by their status."""
    name = str(document.get("type", "")).rpartition(":")[2]
    fallback = ServiceError if status >= 500 else InvalidRequest
    exception = _BY_TYPE.get(name) or _BY_STATUS.get(status, fallback)
    return exception(status, document)


__getattr__ = renamed_attributes(__name__, RENAMED)

"""The exceptions of this package. All of them are an EmotionError."""

from collections.abc import Mapping
from typing import Any

_OPTIONS = frozenset(
    {"threshold", "pipeline", "model", "detector", "min_face_px", "min_confidence", "max_faces"}
    | {"rotate", "mood", "store", "view"}
)


class EmotionError(Exception):
    """Base of all errors; the message is a sentence for people. `tries` says how often the request
    was sent."""

    tries = 0


class UnreadablePicture(EmotionError):
    """The client cannot read the file, the PIL image or the array. Nothing was sent."""


class NotAnImage(UnreadablePicture, TypeError):
    """The object is not an image: not a path, bytes, a binary file, a PIL image or an array."""


class ServiceAway(EmotionError):
    """Nothing answers at the address, or the connection broke at every try."""


class TimedOut(EmotionError):
    """The service did not answer in time."""


class BadReply(EmotionError):
    """The answer is not one of the service: it is no JSON, or other JSON."""


class Problem(EmotionError):
    """The service refused a request and gave the reason (RFC 9457 problem+json).

    `status` is the HTTP status, `type` the stable name of the kind of problem. `errors` is a list
    of `{"field", "message"}` for wrong fields. `request_id` is also in the service's log.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.type = str(document.get("type", "about:blank"))
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.errors: list[dict[str, str]] = list(document.get("errors") or [])
        self.request_id: str | None = document.get("request_id")
        super().__init__(self.detail)


class BadPicture(Problem):
    """The bytes are not a complete image of a supported type."""


class TooLarge(Problem):
    """More bytes, pixels or images than the service allows."""


class InvalidRequest(Problem):
    """The service does not know an option or a filter, or does not accept its value.

    `concerns_every_image`: whether every other image would be refused for the same reason, as with
    an unknown model.
    """

    @property
    def concerns_every_image(self) -> bool:
        # TooMuchWork also has the field `detector`, but depends on the size of the image.
        is_own = self.type.rpartition(":")[2] == "too-much-work"
        return not is_own and any(error.get("field") in _OPTIONS for error in self.errors)


class KeyRefused(Problem):
    """The API key is missing, wrong or no longer valid."""


class NotAllowed(Problem):
    """The API key lacks the right."""


class NotFound(Problem):
    """Nothing is stored under that id, or the service does not know the path.

    `is_unknown_path`: whether the path is unknown, for example because `base_url` is wrong.
    """

    @property
    def is_unknown_path(self) -> bool:
        return self.type == "about:blank"


class Conflict(Problem):
    """The Idempotency-Key was used before with another image or other options."""


class FetchFailed(Problem):
    """The service could not fetch an image by its URL."""


class RateLimited(Problem):
    """More requests than the key allows, also after all retries."""


class ServiceBusy(Problem):
    """The service, its model or its database is not ready, also after all retries."""


class DeadlineExceeded(ServiceBusy):
    """The service did not finish with this image in time, also after all retries."""


class ServiceError(Problem):
    """The service has an internal error."""


_BY_TYPE: dict[str, type[Problem]] = {
    "no-image": BadPicture,
    "unsupported-image-type": BadPicture,
    "undecodable-image": BadPicture,
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
    """Return the exception for a problem document. The status decides for types that this package
    does not know."""
    name = str(document.get("type", "")).rpartition(":")[2]
    fallback = ServiceError if status >= 500 else InvalidRequest
    kind = _BY_TYPE.get(name) or _BY_STATUS.get(status, fallback)
    return kind(status, document)

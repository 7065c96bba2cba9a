"""What can go wrong. Everything that this package raises on purpose is an EmotionError."""

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
    """Nobody answers at that address, or the connection broke each time."""


class TimedOut(EmotionError):
    """The service did not answer in time."""


class BadReply(EmotionError):
    """What answered does not speak like the service: no JSON, or other JSON."""


class Problem(EmotionError):
    """The service refused a request and said why (RFC 9457 problem+json).

    `status` is HTTP's, `type` the stable name of the kind of problem, `errors` a list of
    `{"field", "message"}` where fields are at fault, `request_id` is also in the service's log.
    """

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.type = str(document.get("type", "about:blank"))
        self.detail = str(document.get("detail") or document.get("title") or f"HTTP {status}")
        self.errors: list[dict[str, str]] = list(document.get("errors") or [])
        self.request_id: str | None = document.get("request_id")
        super().__init__(self.detail)


class BadPicture(Problem):
    """The bytes are no picture of a served type, or not a whole one."""


class TooLarge(Problem):
    """More bytes, pixels or pictures than the service takes."""


class InvalidRequest(Problem):
    """An option or a filter that the service does not know or take.

    `concerns_every_image`: whether every other image would be refused for the same reason, as with
    an unknown model.
    """

    @property
    def concerns_every_image(self) -> bool:
        # TooMuchWork also has the field `detector`, but depends on the size of the image.
        is_own = self.type.rpartition(":")[2] == "too-much-work"
        return not is_own and any(error.get("field") in _OPTIONS for error in self.errors)


class KeyRefused(Problem):
    """The service asks for a key, or this one does not hold (any more)."""


class NotAllowed(Problem):
    """The key may not do that."""


class NotFound(Problem):
    """Nothing is stored under that id, or the service does not know the path.

    `is_unknown_path`: whether it is the path, as where `base_url` has a wrong one.
    """

    @property
    def is_unknown_path(self) -> bool:
        return self.type == "about:blank"


class Conflict(Problem):
    """The Idempotency-Key came before with another picture or other options."""


class FetchFailed(Problem):
    """The service could not fetch a picture by its URL."""


class RateLimited(Problem):
    """More requests than this key may make; it stayed so over all retries."""


class ServiceBusy(Problem):
    """The service, its model or its database is not ready; it stayed so over all retries."""


class DeadlineExceeded(ServiceBusy):
    """The service did not get done with this picture in its time; it stayed so over all retries."""


class ServiceError(Problem):
    """Something went wrong inside the service."""


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
    """The exception for a problem document. Kinds that are newer than this package go by their
    status."""
    name = str(document.get("type", "")).rpartition(":")[2]
    fallback = ServiceError if status >= 500 else InvalidRequest
    kind = _BY_TYPE.get(name) or _BY_STATUS.get(status, fallback)
    return kind(status, document)

"""Output formats by media type: content negotiation, and their part of the OpenAPI document.

To add a format, add an entry to the `Formats` of its endpoint.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import Response, after_this_request, request
from werkzeug.exceptions import NotAcceptable

JSON = "application/json"

Make = TypeVar("Make")


@dataclass(frozen=True, slots=True)
class Format(Generic[Make]):
    """`schema` is the OpenAPI media type object of the answer, `make` the function that makes the
    answer."""

    media_type: str
    schema: dict[str, Any]
    make: Make


class Formats(Generic[Make]):
    """The formats of one answer. The first one is the default. `answer` names it in errors."""

    def __init__(self, *formats: Format[Make], answer: str = "the answer") -> None:
        self._formats = {each.media_type: each for each in formats}
        self._answer = answer

    @property
    def content(self) -> dict[str, dict[str, Any]]:
        """The content of the response in the OpenAPI document."""
        return {media_type: each.schema for media_type, each in self._formats.items()}

    def negotiate(self) -> Format[Make]:
        """Return the format that the client of this request prefers, by its header Accept. Raises
        NotAcceptable (406)."""
        after_this_request(_vary)
        offers = list(self._formats)
        if not request.accept_mimetypes:
            return self._formats[offers[0]]
        if (best := request.accept_mimetypes.best_match(offers)) is None:
            raise NotAcceptable(f"{self._answer} can be {', '.join(offers)}")
        return self._formats[best]


def _vary(response: Response) -> Response:
    # Otherwise a cache would answer one client with the format of another.
    response.vary.add("Accept")
    return response

"""Output formats of an endpoint by media type: content negotiation and OpenAPI content.

To add a format, add an entry to the `Formats` of the endpoint.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import Response, after_this_request, request
from werkzeug.exceptions import NotAcceptable

JSON = "application/json"

Respond = TypeVar("Respond")


@dataclass(frozen=True, slots=True)
class Format(Generic[Respond]):
    """An output format: `respond` makes the response, `schema` is its OpenAPI media type object."""

    media_type: str
    schema: dict[str, Any]
    respond: Respond


class Formats(Generic[Respond]):
    """The formats of a response. The first one is the default.

    Error messages use `name` for the response.
    """

    def __init__(self, *formats: Format[Respond], name: str = "the response") -> None:
        self._formats = {each.media_type: each for each in formats}
        self._name = name

    @property
    def content(self) -> dict[str, dict[str, Any]]:
        """The `content` of the response object in the OpenAPI document."""
        return {media_type: each.schema for media_type, each in self._formats.items()}

    def negotiate(self) -> Format[Respond]:
        """Return the format that the Accept header of this request prefers.

        Raises NotAcceptable (406).
        """
        after_this_request(_add_vary_header)
        offers = list(self._formats)
        if not request.accept_mimetypes:
            return self._formats[offers[0]]
        if (best := request.accept_mimetypes.best_match(offers)) is None:
            raise NotAcceptable(f"{self._name} is available as {', '.join(offers)}")
        return self._formats[best]


def _add_vary_header(response: Response) -> Response:
    # Caches must store each format separately.
    response.vary.add("Accept")
    return response

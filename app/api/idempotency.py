"""The header Idempotency-Key: a repeated request is answered from the store, not analysed again
(draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from flask import g, request

from app.errors import MalformedInput
from app.store.idempotency import IdempotentRequest
from app.vision.request import AnalysisOptions, AnalysisRequest, AnyImage, ImageData
from app.vision.types import DetectionOptions

HEADER = "Idempotency-Key"
_TEXT = r"[\x20\x21\x23-\x7e]{1,255}"
_PATTERN = f'^("{_TEXT}"|{_TEXT})$'
PARAMETER = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "pattern": _PATTERN},
    "description": "any text that the client chooses: within a day, the same key with the same "
    "images and options is answered by the stored result of the first request, and with others by "
    "409",
}
_KEY = re.compile(_PATTERN)


def idempotent_requests(
    analyses: Sequence[AnalysisRequest[AnyImage]],
) -> list[IdempotentRequest | None]:
    """Identify the analyses of this HTTP request, so that repeating it stores nothing twice.

    None for each if the client sent no key or stores nothing. Raises MalformedInput for a header
    that is not a key.
    """
    given = request.headers.get(HEADER)
    if given is None:
        return [None] * len(analyses)
    if _KEY.fullmatch(given) is None:
        raise MalformedInput(f"{HEADER} must have 1 to 255 printable ASCII characters")
    if not all(each.options.store for each in analyses):
        return [None] * len(analyses)
    caller, key = g.key.id if g.key else "", given.strip('"')
    fingerprint = _fingerprint(analyses)
    return [
        IdempotentRequest(caller, key, position, fingerprint) for position in range(len(analyses))
    ]


def _fingerprint(analyses: Sequence[AnalysisRequest[AnyImage]]) -> str:
    """A hash of everything that the client asks for. It does not depend on the bytes of the HTTP
    request, because a client may encode a form anew when it repeats a request."""
    digest = hashlib.sha256(repr((request.path, len(analyses))).encode())
    for each in analyses:
        digest.update(repr(_given(each.options)).encode())
        image = each.image
        if isinstance(image, ImageData):
            digest.update(repr((image.file_name, len(image.data))).encode())
            digest.update(image.data)
        else:  # the URL: a repeated request is answered without fetching the image
            digest.update(repr((image.file_name, image.url)).encode())
    return digest.hexdigest()


def _given(options: AnalysisOptions | DetectionOptions) -> dict[str, Any]:
    """The options that differ from their defaults. An option that a later version adds does not
    change the fingerprints of requests without it."""
    values = {each.name: (getattr(options, each.name), each.default) for each in fields(options)}
    return {
        name: _given(value) if isinstance(value, DetectionOptions) else value
        for name, (value, default) in values.items()
        if value != default
    }

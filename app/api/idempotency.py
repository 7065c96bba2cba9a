"""The Idempotency-Key header: a repeated request returns the stored result of the first request.

Source: draft-ietf-httpapi-idempotency-key-header.
"""

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
    "description": "any text that the client chooses. If a request is repeated with the same key, "
    "images and options within 24 hours, the response is the stored result of the first request. "
    "If the images or options differ, the response is 409",
}
_KEY = re.compile(_PATTERN)


def idempotent_requests(
    analyses: Sequence[AnalysisRequest[AnyImage]],
) -> list[IdempotentRequest | None]:
    """Return an `IdempotentRequest` per image, so that a repeated request stores nothing twice.

    The list contains None for each analysis if the client sent no key, or if the request does not
    store its results. Raises MalformedInput for an invalid header.
    """
    header = request.headers.get(HEADER)
    if header is None:
        return [None] * len(analyses)
    if _KEY.fullmatch(header) is None:
        raise MalformedInput(f"{HEADER} must have 1 to 255 printable ASCII characters")
    if not all(each.options.store for each in analyses):
        return [None] * len(analyses)
    caller, key = g.key.id if g.key else "", header.strip('"')
    fingerprint = _fingerprint(analyses)
    return [
        IdempotentRequest(caller, key, position, fingerprint) for position in range(len(analyses))
    ]


def _fingerprint(analyses: Sequence[AnalysisRequest[AnyImage]]) -> str:
    """Return a hash of the path, the images and the options.

    The body is not hashed, because a client that repeats a request may encode the form with another
    boundary.
    """
    digest = hashlib.sha256(repr((request.path, len(analyses))).encode())
    for each in analyses:
        digest.update(repr(_changed_options(each.options)).encode())
        image = each.image
        if isinstance(image, ImageData):
            digest.update(repr((image.file_name, len(image.data))).encode())
            digest.update(image.data)
        else:  # the URL is hashed and not the image, because a replay does not fetch the image
            digest.update(repr((image.file_name, image.url)).encode())
    return digest.hexdigest()


def _changed_options(options: AnalysisOptions | DetectionOptions) -> dict[str, Any]:
    """Return the options that differ from their defaults.

    A later version of the service can add an option without changing the fingerprints of requests
    that do not use it.
    """
    changed: dict[str, Any] = {}
    for each in fields(options):
        value = getattr(options, each.name)
        if value != each.default:
            is_nested = isinstance(value, DetectionOptions)
            changed[each.name] = _changed_options(value) if is_nested else value
    return changed

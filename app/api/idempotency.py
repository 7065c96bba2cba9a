"""The header Idempotency-Key: a request that is sent again is answered again, not done again
(draft-ietf-httpapi-idempotency-key-header)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from flask import g, request

from app.analyse import Link, Options, Picture
from app.errors import MalformedInput
from app.store.idempotency import IdempotentRequest

HEADER = "Idempotency-Key"
_TEXT = r"[\x20\x21\x23-\x7e]{1,255}"
_PATTERN = f'^("{_TEXT}"|{_TEXT})$'
PARAMETER = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string", "pattern": _PATTERN},
    "description": "any text of the client's own: within a day the same key with the same pictures "
    "and options is answered by what was kept the first time, with others by 409",
}
_KEY = re.compile(_PATTERN)


Sent = TypeVar("Sent", Picture, Link, Picture | Link)


def with_idempotency(pictures: Sequence[Sent], options: Options) -> list[Sent]:
    """The pictures, marked such that sending them again keeps nothing twice, if the client asks for
    that and anything is kept at all. Raises MalformedInput for a header that is no key."""
    given = request.headers.get(HEADER)
    if given is None:
        return list(pictures)
    if _KEY.fullmatch(given) is None:
        raise MalformedInput(f"{HEADER} must have 1 to 255 printable ASCII characters")
    if not options.store:
        return list(pictures)
    # Of what is asked and not of the bytes sent: a client may make a form anew for a retry.
    asked = hashlib.sha256(repr((request.path, options)).encode())
    for picture in pictures:
        if isinstance(picture, Link):
            # Of the URL and not of what lies there: a retry is answered without looking.
            asked.update(repr((picture.file_name, picture.url)).encode())
        else:
            asked.update(repr((picture.file_name, len(picture.data))).encode())
            asked.update(picture.data)
    caller = g.key.id if g.key else ""
    return [
        replace(
            picture, retry=IdempotentRequest(caller, given.strip('"'), position, asked.hexdigest())
        )
        for position, picture in enumerate(pictures)
    ]

"""Responses to requests that the server refuses itself, as problem documents (RFC 9457)."""

import http
import json
import uuid
from dataclasses import dataclass

from gunicorn.http import errors
from gunicorn.util import http_date

RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """`kind` is for the log. `detail` is for the client, and quotes nothing that it sent."""

    status: int
    kind: str
    detail: str

    def response(self) -> bytes:
        """The whole response (RFC 9457), after which the connection is closed."""
        phrase = http.HTTPStatus(self.status).phrase
        request_id = uuid.uuid4().hex
        document = {
            "type": "about:blank",
            "title": phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        body = json.dumps(document).encode() + b"\n"
        lines = [
            f"HTTP/1.1 {self.status} {phrase}",
            f"Date: {http_date()}",
            "Connection: close",
            "Content-Type: application/problem+json",
            f"Content-Length: {len(body)}",
            f"X-Request-ID: {request_id}",
        ]
        if self.status == 503:
            lines.append(f"Retry-After: {RETRY_AFTER_SECONDS}")
        return "\r\n".join([*lines, "", ""]).encode() + body


# Any other error of gunicorn's parser is answered with 400.
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, "the first line of the request is too long"),
    (errors.LimitRequestHeaders, 431, "the headers of the request are too long or too many"),
    (errors.ExpectationFailed, 417, "the header Expect can be 100-continue only"),
    (errors.ObsoleteFolding, 400, "a header continues on the next line"),
    (errors.InvalidHeaderName, 400, "a header's name is malformed"),
    (errors.InvalidHeader, 400, "a header is malformed or contradicts another"),
    (errors.InvalidRequestMethod, 400, "the method of the request is malformed"),
    (errors.InvalidHTTPVersion, 400, "the request is not HTTP/1.0 or HTTP/1.1"),
    (errors.UnsupportedTransferCoding, 400, "Transfer-Encoding can be chunked only"),
    (errors.InvalidChunkSize, 400, "the size of a chunk is malformed"),
    (errors.InvalidChunkExtension, 400, "the extension of a chunk is malformed"),
    (errors.ChunkMissingTerminator, 400, "a chunk does not end where its size says"),
    (errors.InvalidRequestLine, 400, "the first line of the request is malformed"),
)


def refusal_of(error: Exception) -> Refusal:
    """The response to an error of gunicorn's parser."""
    for kind, status, detail in _STATUS:
        if isinstance(error, kind):
            return Refusal(status, type(error).__name__, detail)
    return Refusal(400, type(error).__name__, "the request is malformed")


# Functions, because an exception that is raised again keeps the frames of each time.


def too_long_head() -> Refusal:
    return Refusal(431, "LimitRequestHeaders", "the headers of the request are too long")


def bad_percent() -> Refusal:
    return Refusal(400, "BadPercent", "% in the URL must be followed by two hexadecimal digits")


def too_much_framing() -> Refusal:
    return Refusal(400, "TooMuchFraming", "the chunks of the body are too small")


def too_large(limit: int) -> Refusal:
    return Refusal(413, "BodyTooLarge", f"the body has more than {limit:,} bytes")


def premature_end() -> Refusal:
    return Refusal(400, "PrematureEnd", "the request ended before it was complete")


def too_slow() -> Refusal:
    return Refusal(408, "TooSlow", "the request was not received in time")


def server_fault() -> Refusal:
    return Refusal(500, "ServerFault", "something went wrong; the log names the fault")


def out_of_memory() -> Refusal:
    return Refusal(503, "OutOfMemory", "the service holds as much data as it can: try again soon")

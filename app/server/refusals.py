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
    """An error response of the server itself. `kind` is logged, `detail` is sent to the client.

    Neither contains data that the client sent.
    """

    status: int
    kind: str
    detail: str

    def response(self) -> bytes:
        """Return the whole response (RFC 9457). The server closes the connection afterwards."""
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


# Status 400 is the response to all other errors of gunicorn's parser.
_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, "the first line of the request is too long"),
    (errors.LimitRequestHeaders, 431, "the request has too many headers, or they are too long"),
    (errors.ExpectationFailed, 417, "the Expect header must be 100-continue"),
    (errors.ObsoleteFolding, 400, "a header must not continue on the next line"),
    (errors.InvalidHeaderName, 400, "the name of a header is malformed"),
    (errors.InvalidHeader, 400, "a header is malformed or contradicts another header"),
    (errors.InvalidRequestMethod, 400, "the method of the request is malformed"),
    (errors.InvalidHTTPVersion, 400, "the HTTP version must be 1.0 or 1.1"),
    (errors.UnsupportedTransferCoding, 400, "the Transfer-Encoding header must be chunked"),
    (errors.InvalidChunkSize, 400, "the size of a chunk is malformed"),
    (errors.InvalidChunkExtension, 400, "the extension of a chunk is malformed"),
    (errors.ChunkMissingTerminator, 400, "the length of a chunk does not match its size line"),
    (errors.InvalidRequestLine, 400, "the first line of the request is malformed"),
)


def refusal_of(error: Exception) -> Refusal:
    """Return the response to an error of gunicorn's parser."""
    for kind, status, detail in _STATUS:
        if isinstance(error, kind):
            return Refusal(status, type(error).__name__, detail)
    return Refusal(400, type(error).__name__, "the request is malformed")


# Functions create the refusals, because raising one exception object repeatedly would accumulate
# traceback frames.


def too_long_head() -> Refusal:
    return Refusal(431, "LimitRequestHeaders", "the headers of the request are too long")


def bad_percent() -> Refusal:
    return Refusal(400, "BadPercent", "% in the URL must be followed by two hexadecimal digits")


def too_much_framing() -> Refusal:
    return Refusal(400, "TooMuchFraming", "the chunks of the body are too small")


def too_large(limit: int) -> Refusal:
    return Refusal(413, "BodyTooLarge", f"the body must have at most {limit:,} bytes")


def premature_end() -> Refusal:
    return Refusal(400, "PrematureEnd", "the connection was closed before the request was complete")


def too_slow() -> Refusal:
    return Refusal(408, "TooSlow", "the request was not received in time")


def server_fault() -> Refusal:
    return Refusal(500, "ServerFault", "internal server error: see the log of the service")


def out_of_memory() -> Refusal:
    return Refusal(503, "OutOfMemory", "the buffers of the service are full: try again soon")

"""Maps errors to RFC 9457 problem responses (application/problem+json).

The table STATUS gives the HTTP status of each domain error. The rest of the service raises domain
errors and does not choose status codes.
"""

import http
import logging
import re
import time
import uuid
from typing import Any

from flask import Flask, Response, g, jsonify, request
from marshmallow import Schema, fields
from prometheus_client import Counter
from werkzeug.exceptions import HTTPException, InternalServerError

from app import errors
from app.api.current import settings
from app.deadline import Deadline
from app.errors import EmotionError, TooManyRequests

log = logging.getLogger(__name__)

STATUS: dict[type[EmotionError], int] = {
    errors.NoImage: 400,
    errors.MalformedInput: 400,
    errors.MissingKey: 401,
    errors.WrongKey: 401,
    errors.MissingRight: 403,
    errors.CrossSiteRequest: 403,
    errors.NotFound: 404,
    errors.CannotDraw: 406,
    errors.KeyReused: 409,
    errors.TooManyImages: 413,
    errors.ImageTooLarge: 413,
    errors.UnsupportedImageType: 415,
    errors.UnknownHost: 421,
    errors.UndecodableImage: 422,
    errors.UnusableUrl: 422,
    errors.UnknownModel: 422,
    errors.UnknownDetector: 422,
    errors.UnknownPipeline: 422,
    errors.UnfitDetector: 422,
    errors.TooMuchWork: 422,
    errors.InvalidCursor: 422,
    errors.TooWideSpan: 422,
    errors.TooManyRequests: 429,
    errors.FetchFailed: 502,
    errors.Busy: 503,
    errors.DeadlineExceeded: 503,
    errors.ModelUnavailable: 503,
    errors.InvalidCard: 503,
    errors.StoreUnavailable: 503,
    errors.OutcomeUnknown: 503,
    errors.FetchTimedOut: 504,
}
# Clients compare problem types, so a type stays the same when the error class is renamed.
STABLE_NAMES: dict[type[Exception], str] = {errors.DeadlineExceeded: "TookTooLong"}
REFUSED = Counter("emotion_refused", "Rejected images and requests.", ["reason"])
RETRY_AFTER_SECONDS = 5  # for errors that last until an operator acts or the database restarts
BUSY = (errors.Busy, errors.DeadlineExceeded)
BUSY_SECONDS = 1  # Retry-After of these errors
PROBLEM_JSON = "application/problem+json"

# A body may contain a million unknown names, so the size of a problem document is limited.
MAX_FIELDS = 20
MAX_FIELD_CHARACTERS = 100
MAX_DETAIL_CHARACTERS = 1_000

# Other values of X-Request-ID are replaced, so that a client cannot add lines to the log.
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
# An API key that a client sends as the request id by mistake must not be logged.
_KEY = re.compile(r"emo_[0-9a-f]{12}_")


class FieldErrorSchema(Schema):
    """An error of one field or option."""

    field = fields.String(required=True)
    message = fields.String(required=True)


class ProblemSchema(Schema):
    """RFC 9457. `type` identifies the kind of error; it is about:blank for generic HTTP errors."""

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))


def as_problem(error: Exception) -> EmotionError | HTTPException:
    """Return domain and HTTP errors unchanged. Log any other error and return a 500 exception."""
    if isinstance(error, EmotionError | HTTPException):
        return error
    log.error("request %s failed", g.request_id, exc_info=error)
    return InternalServerError("internal error: search the log of the service for this request_id")


def problem(error: EmotionError | HTTPException) -> dict[str, Any]:
    """Return the problem document of an error, and count the error by its reason."""
    reason = STABLE_NAMES.get(type(error), type(error).__name__)
    REFUSED.labels(reason).inc()
    g.problem = reason
    if isinstance(error, EmotionError):
        return _domain_problem(error, reason)
    return _http_problem(error)


def _domain_problem(error: EmotionError, reason: str) -> dict[str, Any]:
    words = re.findall("[A-Z][a-z]+", reason)
    document = {
        "type": f"urn:emotion:problem:{'-'.join(words).lower()}",
        "title": " ".join(words).capitalize(),
        "status": STATUS[type(error)],
        "detail": _shortened(str(error), MAX_DETAIL_CHARACTERS),
        "request_id": g.request_id,
    }
    if error.field:
        document["errors"] = [{"field": error.field, "message": document["detail"]}]
    return document


def _http_problem(error: HTTPException) -> dict[str, Any]:
    code = error.code or 500
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(code).phrase,
        "status": code,
        "detail": error.description or http.HTTPStatus(code).description,
        "request_id": g.request_id,
    }
    # webargs stores the messages of a schema as {location: {field: [message]}}.
    if messages := getattr(error, "data", {}).get("messages"):
        document["errors"] = field_errors = _field_errors(messages)
        detail = "; ".join("{field}: {message}".format(**each) for each in field_errors)
        document["detail"] = _shortened(detail, MAX_DETAIL_CHARACTERS)
    return document


def _field_errors(messages: dict[str, Any]) -> list[dict[str, str]]:
    """Return the first MAX_FIELDS field errors, and an entry with the number of further ones."""
    pairs = [pair for location in messages.values() for pair in _flatten("", location)]
    field_errors = [
        {"field": _shortened(field, MAX_FIELD_CHARACTERS), "message": message}
        for field, message in pairs[:MAX_FIELDS]
    ]
    if remaining := len(pairs) - len(field_errors):
        field_errors.append({"field": "…", "message": f"and {remaining} more"})
    return field_errors


def _shortened(text: str, max_length: int) -> str:
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def _flatten(path: str, messages: Any) -> list[tuple[str, str]]:
    """Return (path of the field, message) for each message in nested dicts."""
    if isinstance(messages, dict):
        return [
            item
            for key, value in messages.items()
            for item in _flatten(f"{path}.{key}" if path else str(key), value)
        ]
    return [(path, text) for text in messages]


def problem_response(
    error: EmotionError | HTTPException, errors: list[dict[str, str]] | None = None
) -> Response:
    """Return the problem response of `error`. `errors` replaces the field errors of `error`."""
    document = problem(error)
    if errors:
        document["errors"] = errors
    response = jsonify(document)
    response.status_code = document["status"]
    response.content_type = PROBLEM_JSON
    if response.status_code == 503:
        seconds = BUSY_SECONDS if isinstance(error, BUSY) else RETRY_AFTER_SECONDS
        response.headers["Retry-After"] = str(seconds)
    if isinstance(error, TooManyRequests) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="emotion"'
    if response.status_code == 405 and isinstance(error, HTTPException):
        response.headers.extend(error.get_headers())  # Allow
        response.content_type = PROBLEM_JSON
    return response


def init_problems(app: Flask) -> None:
    """Register request ids, deadlines and the error handler."""

    @app.before_request
    def set_request_id() -> None:
        # app.server records the time at which the first byte of the request arrived.
        g.began = request.environ.get("emotion.began", time.perf_counter())
        g.deadline = Deadline(g.began + settings().request_seconds)
        header = request.headers.get("X-Request-ID", "")
        accepted = _REQUEST_ID.fullmatch(header) and not _KEY.search(header)
        g.request_id = header if accepted else uuid.uuid4().hex

    @app.after_request
    def return_request_id(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        return response

    @app.errorhandler(Exception)
    def respond(error: Exception) -> Response:
        return problem_response(as_problem(error))

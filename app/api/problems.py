"""Every error as RFC 9457 application/problem+json. One table turns the domain's errors into
HTTP; nothing else in the service knows both."""

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
# Clients compare the types of problems, so a type stays when its class gets another name.
STABLE_NAMES: dict[type[Exception], str] = {errors.DeadlineExceeded: "TookTooLong"}
REFUSED = Counter("emotion_refused", "Pictures and requests that were refused.", ["reason"])
RETRY_AFTER_SECONDS = 5  # of what a person must mend, or a database that starts anew
BUSY, BUSY_SECONDS = (errors.Busy, errors.DeadlineExceeded), 1
PROBLEM_JSON = "application/problem+json"

# An answer does not grow with what is wrong: a body may hold a million names that nobody knows.
MOST_FIELDS = 20
MOST_CHARACTERS = 100  # of a field's name
MOST_CHARACTERS_OF_DETAIL = 1_000

# What a client may call its request; anything else is replaced, so that logs stay one line each.
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_KEY = re.compile(r"emo_[0-9a-f]{12}_")  # a client's mistake, which must not be logged


class FieldErrorSchema(Schema):
    field = fields.String(required=True)
    message = fields.String(required=True)


class ProblemSchema(Schema):
    """RFC 9457. `type` is stable for every kind of error and about:blank for those of HTTP."""

    type = fields.String(required=True, metadata={"format": "uri"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))


def as_problem(error: Exception) -> EmotionError | HTTPException:
    """The error itself where it is one that has an answer; otherwise a 500, and the log says
    what happened under the request's id."""
    if isinstance(error, EmotionError | HTTPException):
        return error
    log.error("request %s failed", g.request_id, exc_info=error)
    return InternalServerError("something went wrong; the log has it under this request_id")


def problem(error: EmotionError | HTTPException) -> dict[str, Any]:
    """The problem document of an error, which is counted by its reason."""
    reason = STABLE_NAMES.get(type(error), type(error).__name__)
    REFUSED.labels(reason).inc()
    g.problem = reason
    if isinstance(error, EmotionError):
        words = re.findall("[A-Z][a-z]+", reason)
        document = {
            "type": f"urn:emotion:problem:{'-'.join(words).lower()}",
            "title": " ".join(words).capitalize(),
            "status": STATUS[type(error)],
            "detail": _cut(str(error), MOST_CHARACTERS_OF_DETAIL),
            "request_id": g.request_id,
        }
        if error.field:
            document["errors"] = [{"field": error.field, "message": document["detail"]}]
        return document
    code = error.code or 500
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(code).phrase,
        "status": code,
        "detail": error.description or http.HTTPStatus(code).description,
        "request_id": g.request_id,
    }
    # Where webargs leaves what a schema found wrong: {location: {field: [message]}}.
    if messages := getattr(error, "data", {}).get("messages"):
        found = [pair for location in messages.values() for pair in _flatten("", location)]
        fields_at_fault = [
            {"field": _cut(field, MOST_CHARACTERS), "message": message}
            for field, message in found[:MOST_FIELDS]
        ]
        if others := len(found) - len(fields_at_fault):
            fields_at_fault.append({"field": "…", "message": f"and {others} more"})
        document["errors"] = fields_at_fault
        detail = "; ".join("{field}: {message}".format(**it) for it in fields_at_fault)
        document["detail"] = _cut(detail, MOST_CHARACTERS_OF_DETAIL)
    return document


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _flatten(path: str, messages: Any) -> list[tuple[str, str]]:
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
    """`errors` says more of the fields at fault than the error itself can."""
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
    """Give every request an id and every error its answer."""

    @app.before_request
    def name_request() -> None:
        # app.server says when the first byte of the request arrived.
        g.began = request.environ.get("emotion.began", time.perf_counter())
        g.deadline = Deadline(g.began + settings().request_seconds)
        given = request.headers.get("X-Request-ID", "")
        usable = _REQUEST_ID.fullmatch(given) and not _KEY.search(given)
        g.request_id = given if usable else uuid.uuid4().hex

    @app.after_request
    def return_request_id(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        return response

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response:
        return problem_response(as_problem(error))

"""How often: each key, or each address where none is needed, may ask so many times.

Routes that need no key are not counted: whether the service lives can always be asked.
"""

import time

import limits
from flask import Flask, Response, g, request
from flask_limiter import Limiter, RateLimitExceeded

from app.api.access import is_public
from app.api.problems import problem_response
from app.errors import TooManyRequests
from app.settings import SettingError, Settings


def init_rates(app: Flask, settings: Settings) -> None:
    """After init_access, which finds out whose request it is. Raises SettingError."""
    if not settings.rate_limit:
        return
    try:
        limits.parse_many(settings.rate_limit)
    except ValueError as error:
        raise SettingError(
            f"EMOTION_RATE_LIMIT={settings.rate_limit!r} is not of the form 600/minute"
        ) from error
    limiter = Limiter(
        _who,
        application_limits=[settings.rate_limit],
        application_limits_exempt_when=is_public,
        strategy="sliding-window-counter",
        storage_uri=settings.rate_limit_url,
        in_memory_fallback_enabled=True,  # rather each worker by itself than nobody
    )
    try:
        limiter.init_app(app)
    except limits.errors.ConfigurationError as error:  # without the URL: it may hold a password
        raise SettingError(
            "EMOTION_RATE_LIMIT_URL must be memory:// or redis://host:port"
        ) from error
    app.register_error_handler(RateLimitExceeded, _refuse)

    @app.after_request
    def say_what_is_left(response: Response) -> Response:
        # Names and meanings of draft-ietf-httpapi-ratelimit-headers-07: the time is in seconds.
        if limit := limiter.current_limit:
            seconds = max(0, round(limit.reset_at - time.time()))
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(limit.remaining)
            response.headers["RateLimit-Reset"] = str(seconds)
            if limit.breached:
                response.headers["Retry-After"] = str(max(1, seconds))
        return response


def _who() -> str:
    key = g.get("key")
    return f"address {request.remote_addr}" if key is None else f"key {key.id}"


def _refuse(error: RateLimitExceeded) -> Response:
    return problem_response(TooManyRequests(f"more than {error.description}: try again later"))

"""Rate limits per API key, or per client address for requests without a key.

Public routes have a separate limit, which is on by default. The files of the web page have a higher
limit. /healthz, /readyz and unknown routes are never limited. The counters are in the memory of
each worker, at most MAX_COUNTERS of them, or in Redis for all workers together.
"""

import threading
import time
from contextlib import suppress

import limits
from flask import Flask, Response, g, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded
from limits.storage import MemoryStorage

from app.api.access import is_public
from app.api.addresses import counted_address
from app.api.problems import problem_response
from app.errors import TooManyRequests
from app.settings import SettingError, Settings

MAX_COUNTERS = 10_000
IN_MEMORY = "memory://"
UNLIMITED = {"/healthz", "/readyz"}
PAGE_FILES = {"/", "/assets/<path:file_name>", "/docs/start.js", "/docs/assets/<path:file_name>"}
PAGE_FILES_FACTOR = 10  # the web page loads about 30 files, and sends four other public requests
ALSO_LIMITED = {"/metrics"}  # limited like a public route, although it needs a key


class BoundedMemoryStorage(MemoryStorage):
    """Evicts the oldest counters, so that memory does not grow with the number of addresses."""

    STORAGE_SCHEME = ["bounded-memory"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: str) -> None:
        super().__init__(uri, wrap_exceptions)
        self._eviction_lock = threading.Lock()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        # A thread of the library removes expired counters concurrently.
        with self._eviction_lock, suppress(RuntimeError, StopIteration):
            while len(self.expirations) >= MAX_COUNTERS:
                self.clear(next(iter(self.expirations)))
        return super().incr(key, expiry, amount)


def init_rates(app: Flask, settings: Settings) -> None:
    """Limit the requests to `app`. Must run after init_access, which identifies the API key.

    Raises SettingError for an invalid limit or URL.
    """
    application_limits = _application_limits(settings)
    if not application_limits:
        return
    url = settings.rate_limit_url
    limiter = Limiter(
        _client,
        application_limits=[*application_limits],
        strategy="sliding-window-counter",
        storage_uri=f"bounded-{IN_MEMORY}" if url == IN_MEMORY else url,
        in_memory_fallback_enabled=True,  # per-worker counting while Redis is unreachable
    )
    try:
        limiter.init_app(app)
    except (limits.errors.ConfigurationError, ValueError):
        # The message omits the URL and the original error, because both may contain a password.
        raise SettingError(
            "EMOTION_RATE_LIMIT_URL must be memory:// or redis://host:port. In a password, write "
            "/ as %2F and @ as %40"
        ) from None
    app.register_error_handler(RateLimitExceeded, _reject)

    @app.after_request
    def add_headers(response: Response) -> Response:
        # draft-ietf-httpapi-ratelimit-headers-07 defines the headers. The time is in seconds.
        if limit := limiter.current_limit:
            seconds = max(0, round(limit.reset_at - time.time()))
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(limit.remaining)
            response.headers["RateLimit-Reset"] = str(seconds)
            if limit.breached:
                response.headers["Retry-After"] = str(max(1, seconds))
        return response


def _application_limits(settings: Settings) -> list[ApplicationLimit]:
    application_limits = []
    if settings.rate_limit:
        _parse("EMOTION_RATE_LIMIT", settings.rate_limit)
        application_limits.append(ApplicationLimit(settings.rate_limit, exempt_when=is_public))
    if settings.public_rate_limit:
        public_limits = _parse("EMOTION_PUBLIC_RATE_LIMIT", settings.public_rate_limit)
        file_limits = "; ".join(
            str(type(limit)(limit.amount * PAGE_FILES_FACTOR, limit.multiples))
            for limit in public_limits
        )
        application_limits += [
            ApplicationLimit(
                settings.public_rate_limit,
                scope="public",
                exempt_when=lambda: not _is_limited_by_address(),
            ),
            ApplicationLimit(file_limits, scope="files", exempt_when=lambda: not _is_page_file()),
        ]
    return application_limits


def _parse(name: str, text: str) -> list[limits.RateLimitItem]:
    try:
        return list(limits.parse_many(text))
    except ValueError as error:
        raise SettingError(f"{name}={text!r} is not of the form 600/minute") from error


def _route() -> str | None:
    return request.url_rule.rule if request.url_rule else None


def _is_page_file() -> bool:
    return _route() in PAGE_FILES


def _is_limited_by_address() -> bool:
    """Return whether EMOTION_PUBLIC_RATE_LIMIT applies to the current request.

    It applies to ALSO_LIMITED and to all public routes except UNLIMITED and PAGE_FILES, so a new
    public route is limited by default.
    """
    route = _route()
    if route is None or request.method == "OPTIONS" or route in UNLIMITED or _is_page_file():
        return False
    return route in ALSO_LIMITED or is_public()


def _client() -> str:
    key = g.get("key")
    return f"key {key.id}" if key else f"address {counted_address(request.remote_addr)}"


def _reject(error: RateLimitExceeded) -> Response:
    return problem_response(
        TooManyRequests(f"rate limit exceeded ({error.description}): try again later")
    )

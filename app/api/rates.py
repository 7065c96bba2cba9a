"""Rate limits: requests of each key, or of each address where no key is shown.

Routes that need no key have a limit of their own, which is on by default; it is higher for the
files of the page. /healthz, /readyz and unknown routes are never limited. The counters are in the
memory of each worker, at most MOST_COUNTED of them, or in Redis for all workers together.
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

MOST_COUNTED = 10_000
IN_MEMORY = "memory://"
UNLIMITED = {"/healthz", "/readyz"}
PAGE_FILES = {"/", "/assets/<path:file_name>", "/docs/start.js", "/docs/assets/<path:file_name>"}
PAGE_FILES_FACTOR = 10  # one page is a dozen files
ALSO_LIMITED = {"/metrics"}  # needs a key, but is as expensive as the public /v1/models


class BoundedMemoryStorage(MemoryStorage):
    """Forgets the oldest counters, so that memory does not grow with the number of addresses."""

    STORAGE_SCHEME = ["bounded-memory"]

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **_: str) -> None:
        super().__init__(uri, wrap_exceptions)
        self._room = threading.Lock()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        # A thread of the library removes expired counters at the same time.
        with self._room, suppress(RuntimeError, StopIteration):
            while len(self.expirations) >= MOST_COUNTED:
                self.clear(next(iter(self.expirations)))
        return super().incr(key, expiry, amount)


def init_rates(app: Flask, settings: Settings) -> None:
    """After init_access, which finds out whose request it is. Raises SettingError."""
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
        # Without the URL and without its error: both may hold a password.
        raise SettingError(
            "EMOTION_RATE_LIMIT_URL must be memory:// or redis://host:port, with / and @ in a "
            "password written as %2F and %40"
        ) from None
    app.register_error_handler(RateLimitExceeded, _refuse)

    @app.after_request
    def add_headers(response: Response) -> Response:
        # Names and meanings of draft-ietf-httpapi-ratelimit-headers-07: the time is in seconds.
        if limit := limiter.current_limit:
            seconds = max(0, round(limit.reset_at - time.time()))
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(limit.remaining)
            response.headers["RateLimit-Reset"] = str(seconds)
            if limit.breached:
                response.headers["Retry-After"] = str(max(1, seconds))
        return response


def _application_limits(settings: Settings) -> list[ApplicationLimit]:
    found = []
    if settings.rate_limit:
        _parse("EMOTION_RATE_LIMIT", settings.rate_limit)
        found.append(ApplicationLimit(settings.rate_limit, exempt_when=is_public))
    if settings.public_rate_limit:
        each = _parse("EMOTION_PUBLIC_RATE_LIMIT", settings.public_rate_limit)
        of_files = "; ".join(
            str(type(limit)(limit.amount * PAGE_FILES_FACTOR, limit.multiples)) for limit in each
        )
        found += [
            ApplicationLimit(
                settings.public_rate_limit,
                scope="public",
                exempt_when=lambda: not _is_limited_by_address(),
            ),
            ApplicationLimit(of_files, scope="files", exempt_when=lambda: not _is_page_file()),
        ]
    return found


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
    """Whether EMOTION_PUBLIC_RATE_LIMIT applies: to every public route except UNLIMITED and
    PAGE_FILES, and to ALSO_LIMITED. A new public route is limited by default."""
    route = _route()
    if route is None or request.method == "OPTIONS" or route in UNLIMITED or _is_page_file():
        return False
    return route in ALSO_LIMITED or is_public()


def _client() -> str:
    key = g.get("key")
    return f"key {key.id}" if key else f"address {counted_address(request.remote_addr)}"


def _refuse(error: RateLimitExceeded) -> Response:
    return problem_response(
        TooManyRequests(f"more requests than {error.description}: try again later")
    )

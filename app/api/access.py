"""Access control: each route declares the right that it needs, and a request shows a key with it.

A request with a key is judged by the key alone. A request without one is let in when the operator
allows anonymous requests, or when no key was ever made and a client on this machine sent it. In
both cases a request that a page of another site makes a browser send is refused: see
app.api.origin.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import limits
from flask import Flask, current_app, g, request

from app.api.addresses import counted_address
from app.api.current import settings
from app.api.origin import cross_site_objection, host_objection, remote_objection
from app.attempts import FailedAttempts
from app.errors import CrossSiteRequest, MissingKey, MissingRight, UnknownHost, WrongKey
from app.keys import CREATE_COMMAND, KeyVerifier
from app.settings import SettingError, Settings
from app.store import keys
from app.store.keys import Right

PUBLIC = "public"
# Views that are not ours to mark: the OpenAPI document.
PUBLIC_ENDPOINTS = {"api-docs.openapi_json"}
NEEDS_KEY = "this needs a key: send the header Authorization: Bearer <key>"

View = TypeVar("View", bound=Callable[..., Any])


def needs(right: Right | str) -> Callable[[View], View]:
    """Mark a view with the right that it needs, or PUBLIC."""

    def mark(view: View) -> View:
        view.right = right  # type: ignore[attr-defined]
        return view

    return mark


def init_access(app: Flask, settings: Settings) -> None:
    """Raises SettingError."""
    app.extensions["key_verifier"] = KeyVerifier(_failed_attempts(settings))
    app.extensions["host_names"] = settings.host_names
    app.before_request(_check_access)


def right_needed(app: Flask, endpoint: str, method: str) -> Right | str | None:
    """The right that a route says it needs; None where it says nothing."""
    if endpoint in PUBLIC_ENDPOINTS:
        return PUBLIC
    view: Any = app.view_functions[endpoint]
    if view_class := getattr(view, "view_class", None):
        name = "get" if method == "HEAD" else method.lower()
        view = getattr(view_class, name, None)
    return getattr(view, "right", None)


def is_public() -> bool:
    """Whether the current request needs no key. True for unknown routes and for OPTIONS."""
    if request.url_rule is None or request.method == "OPTIONS":
        return True
    return _right_asked() == PUBLIC


def _failed_attempts(settings: Settings) -> FailedAttempts | None:
    text = settings.key_failure_limit
    if not text:
        return None
    try:
        (limit,) = limits.parse_many(text)
    except ValueError as error:
        raise SettingError(
            f"EMOTION_KEY_FAILURE_LIMIT={text!r} is not one limit of the form 10/minute"
        ) from error
    if limit.amount < 1:
        raise SettingError(f"EMOTION_KEY_FAILURE_LIMIT={text!r} must allow at least one wrong key")
    return FailedAttempts(limit.amount, limit.get_expiry())


def _right_asked() -> Right | str | None:
    return right_needed(current_app, request.endpoint or "", request.method)


def _check_access() -> None:
    if is_public():
        return
    # A route that says nothing is for those who may do everything.
    right = Right(_right_asked() or Right.ADMIN)
    g.key = key = _key_shown()
    if key is None:
        _check_anonymous()
    elif not key.may(right):
        raise MissingRight(f"this key may not do that: it lacks the right {right.value!r}")


def _key_shown() -> keys.Key | None:
    if "Authorization" not in request.headers:
        return None
    # Not `request.authorization`, which raises ValueError for some headers that are none.
    scheme, _, token = request.headers["Authorization"].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise WrongKey("the header Authorization must be: Bearer <key>")
    verifier = cast(KeyVerifier, current_app.extensions["key_verifier"])
    return verifier.identify(token.strip(), counted_address(request.remote_addr))


def _check_anonymous() -> None:
    """Raises MissingKey, UnknownHost or CrossSiteRequest."""
    config = settings()
    if config.allow_anonymous:
        if objection := host_objection(request, current_app.extensions["host_names"]):
            raise UnknownHost(
                f"{objection}; show a key, use the IP address, or have the operator name the host "
                "in EMOTION_ALLOWED_HOSTS"
            )
        if objection := cross_site_objection(request, config.origins):
            raise CrossSiteRequest(
                f"{objection}; show a key, or have the operator name the site in "
                "EMOTION_CORS_ORIGINS; a proxy in front must pass on the host and the scheme that "
                "clients use (EMOTION_PROXIES)"
            )
        return
    if not config.is_local or keys.any_made():
        raise MissingKey(NEEDS_KEY)
    if config.proxies:
        objection = "a proxy is expected: EMOTION_PROXIES is set"
    else:
        objection = remote_objection(request, config.origins)
    if objection:
        raise MissingKey(
            f"{NEEDS_KEY}. Without a key the service answers this machine only, and {objection}. "
            f"Make a key: {CREATE_COMMAND}"
        )

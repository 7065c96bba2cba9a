"""Access control: each route declares the right that it requires.

If a request has an API key, only the key decides. A request without a key is accepted if the
operator allows anonymous requests, or if no key has ever been created and a client on this machine
sent the request. In both cases, cross-site requests of browsers are rejected: see
app.api.origin.
"""

import re
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
KEY_REQUIRED = "an API key is required: send the header Authorization: Bearer <key>"

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)

View = TypeVar("View", bound=Callable[..., Any])


def requires(right: Right | str) -> Callable[[View], View]:
    """Declare the right that a view requires, or PUBLIC. API views use `ApiBlueprint.requires`."""

    def decorate(view: View) -> View:
        view.right = right  # type: ignore[attr-defined]
        return view

    return decorate


def init_access(app: Flask, settings: Settings) -> None:
    """Check the access policy before every request. Raises SettingError for an invalid setting."""
    app.extensions["key_verifier"] = KeyVerifier(_failed_attempts(settings))
    app.extensions["allowed_hosts"] = _allowed_hosts(settings)
    app.before_request(_check_access_policy)


def required_right(app: Flask, endpoint: str, method: str) -> Right | str | None:
    """Return the right that a route declares, or None if it declares none."""
    view: Any = app.view_functions[endpoint]
    if view_class := getattr(view, "view_class", None):
        name = "get" if method == "HEAD" else method.lower()
        view = getattr(view_class, name, None)
    return getattr(view, "right", None)


def is_public() -> bool:
    """Return whether the current request needs no key. True for unknown routes and for OPTIONS."""
    if request.url_rule is None or request.method == "OPTIONS":
        return True
    return _required_right() == PUBLIC


def _failed_attempts(settings: Settings) -> FailedAttempts | None:
    limit_text = settings.key_failure_limit
    if not limit_text:
        return None
    try:
        (limit,) = limits.parse_many(limit_text)
    except ValueError as error:
        raise SettingError(
            f"EMOTION_KEY_FAILURE_LIMIT={limit_text!r} must be one limit such as 10/minute"
        ) from error
    if limit.amount < 1:
        raise SettingError(
            f"EMOTION_KEY_FAILURE_LIMIT={limit_text!r} must allow at least one wrong key"
        )
    return FailedAttempts(limit.amount, limit.get_expiry())


def _allowed_hosts(settings: Settings) -> frozenset[str]:
    """Return the names of `allowed_hosts` and `host`, in lower case."""
    names = {part.strip().lower() for part in settings.allowed_hosts.split(",")} - {""}
    names = {name.removesuffix(".") for name in names}
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise SettingError(
                f"EMOTION_ALLOWED_HOSTS: {name!r} is not a host name such as nas.local: leave "
                "out scheme, port, path and wildcards"
            )
    return frozenset({*names, settings.host.lower().removesuffix(".")})


def _required_right() -> Right | str | None:
    return required_right(current_app, request.endpoint or "", request.method)


def _check_access_policy() -> None:
    if is_public():
        return
    # Routes without a declared right require the admin right.
    right = Right(_required_right() or Right.ADMIN)
    g.key = key = _request_key()
    if key is None:
        _check_anonymous()
    elif not key.has_right(right):
        raise MissingRight(f"the API key lacks the right {right.value!r}")


def _request_key() -> keys.Key | None:
    """Return the key of the current request; None if it has no Authorization header."""
    if "Authorization" not in request.headers:
        return None
    # `request.authorization` raises ValueError for some malformed headers.
    scheme, _, token = request.headers["Authorization"].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise WrongKey("the header Authorization must be: Bearer <key>")
    verifier = cast(KeyVerifier, current_app.extensions["key_verifier"])
    return verifier.identify(token.strip(), counted_address(request.remote_addr))


def _check_anonymous() -> None:
    """Check a request without a key. Raises MissingKey, UnknownHost or CrossSiteRequest."""
    config = settings()
    if config.allow_anonymous:
        if objection := host_objection(request, current_app.extensions["allowed_hosts"]):
            raise UnknownHost(
                f"{objection}. Send an API key, use the IP address of the service, or ask the "
                "operator to add the host to EMOTION_ALLOWED_HOSTS"
            )
        if objection := cross_site_objection(request, config.origins):
            raise CrossSiteRequest(
                f"{objection}. Send an API key, or ask the operator to add the site to "
                "EMOTION_CORS_ORIGINS. A proxy in front of the service must forward the host and "
                "the scheme of the client's request (EMOTION_PROXIES)"
            )
        return
    if not config.is_local or keys.any_exists():
        raise MissingKey(KEY_REQUIRED)
    if config.proxies:
        objection = "EMOTION_PROXIES is set, so the service expects a proxy"
    else:
        objection = remote_objection(request, config.origins)
    if objection:
        raise MissingKey(
            f"{KEY_REQUIRED}. Without an API key, the service only accepts requests from this "
            f"machine, but {objection}. Create a key with: {CREATE_COMMAND}"
        )

"""Who may: every route says which right it needs, and a request shows a key that has it.

As long as no key was ever made, the machine that the service runs on may do everything without one,
if the service listens there only. That a browser on it is made to ask by somebody else's page (by
a form, or by a name that is made to point here) does not count as that machine.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, current_app, g, request

from app.api.current import settings
from app.errors import MissingKey, MissingRight, WrongKey
from app.keys import Doorkeeper
from app.settings import is_loopback
from app.store import keys
from app.store.keys import Right

PUBLIC = "public"
FORWARDED = ("Forwarded", "X-Forwarded-For")
# Views that are not ours to mark: the OpenAPI document.
PUBLIC_ENDPOINTS = {"api-docs.openapi_json"}

View = TypeVar("View", bound=Callable[..., Any])


def needs(right: Right | str) -> Callable[[View], View]:
    """Mark a view with the right that it needs, or PUBLIC."""

    def mark(view: View) -> View:
        view.right = right  # type: ignore[attr-defined]
        return view

    return mark


def init_access(app: Flask) -> None:
    app.extensions["doorkeeper"] = Doorkeeper()
    app.before_request(_let_in)


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
    """Whether the request at hand needs no key."""
    if request.url_rule is None or request.method == "OPTIONS":
        return True  # there is no such thing, or it is only asked what there is
    return _right_asked() == PUBLIC


def _right_asked() -> Right | str | None:
    return right_needed(current_app, request.endpoint or "", request.method)


def _let_in() -> None:
    if is_public():
        return
    # A route that says nothing is for those who may do everything.
    right = Right(_right_asked() or Right.ADMIN)
    key = _key_shown()
    if key is None and not _anonymous_may():
        raise MissingKey("this needs a key: send the header Authorization: Bearer <key>")
    if key is not None and not key.may(right):
        raise MissingRight(f"this key may not do that: it lacks the right {right.value!r}")
    g.key = key


def _key_shown() -> keys.Key | None:
    if "Authorization" not in request.headers:
        return None
    # Not `request.authorization`, which raises ValueError for some headers that are none.
    scheme, _, token = request.headers["Authorization"].strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise WrongKey("the header Authorization must be: Bearer <key>")
    return cast(Doorkeeper, current_app.extensions["doorkeeper"]).identify(token.strip())


def _anonymous_may() -> bool:
    if settings().allow_anonymous:
        return True
    return settings().is_local and _is_from_here() and not keys.any_made()


def _is_from_here() -> bool:
    """By a client on this machine that asks for it under a name of this machine, from no other
    site's page, unless that site was let in, and past no proxy."""
    if any(header in request.headers for header in FORWARDED):
        return False
    here = is_loopback(request.remote_addr or "")
    name = urlsplit(request.host_url).hostname or ""
    origin = request.headers.get("Origin")
    own = origin in (None, request.host_url.rstrip("/"), *settings().origins)
    return here and is_loopback(name) and own

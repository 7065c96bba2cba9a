"""EMOTION_ROOT_PATH: the service as a part of a larger site, below a path of it.

A proxy may pass paths on as they are or remove the root path. Both are understood: a path that
begins with the root path loses it, any other path is taken as it is. Links begin with the root
path in both cases, unless a proxy that is believed names another one by X-Forwarded-Prefix.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request

from app.api.forwarded import parse_prefix
from app.settings import SettingError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def init_root_path(app: Flask, text: str) -> None:
    """After all routes and init_forwarded. Raises SettingError."""
    try:
        root = parse_prefix(text)
    except ValueError as error:
        raise SettingError(
            f"EMOTION_ROOT_PATH={text!r} must be a path such as /emotion, of letters, digits and "
            ".-_~"
        ) from error
    if not root:
        return
    first = root.split("/")[1]
    if first in {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}:
        raise SettingError(
            f"EMOTION_ROOT_PATH={text!r} begins like a path of the service itself: /{first}"
        )
    app.wsgi_app = RootPath(app.wsgi_app, root)  # type: ignore[method-assign]


class RootPath:
    """WSGI middleware that moves the root path from PATH_INFO to SCRIPT_NAME."""

    def __init__(self, application: "WSGIApplication", root: str) -> None:
        self._application = application
        self._root = root

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == self._root or path.startswith(f"{self._root}/"):
            environ["PATH_INFO"] = path[len(self._root) :]
        environ["SCRIPT_NAME"] = self._root  # ProxyFix comes later and may replace it
        return self._application(environ, start_response)


def link_base() -> str:
    """What the addresses of a page's files begin with: the root path and a slash, or nothing, which
    makes them relative to the page, where no root path is known."""
    return f"{request.script_root}/" if request.script_root else ""

"""EMOTION_ROOT_PATH: runs the service below a path prefix.

The service removes the prefix from each path that has it, so a proxy may forward or remove the
prefix. Links begin with the prefix in both cases, unless a trusted proxy sends a different prefix
in X-Forwarded-Prefix.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request

from app.api.forwarded import parse_prefix
from app.settings import SettingError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def init_root_path(app: Flask, text: str) -> None:
    """Run `app` below the root path `text`. Raises SettingError for an invalid root path.

    Must run after init_forwarded and after all routes are registered.
    """
    try:
        root = parse_prefix(text)
    except ValueError as error:
        raise SettingError(
            f"EMOTION_ROOT_PATH={text!r} must be a path such as /emotion that consists of letters, "
            "digits and .-_~"
        ) from error
    if not root:
        return
    first = root.split("/")[1]
    if first in {rule.rule.split("/")[1] for rule in app.url_map.iter_rules()}:
        raise SettingError(
            f"EMOTION_ROOT_PATH={text!r} conflicts with the path /{first} of the service: choose "
            "another path"
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
        environ["SCRIPT_NAME"] = self._root  # ProxyFix runs later and may replace it
        return self._application(environ, start_response)


def link_base() -> str:
    """Return the beginning of the links in a page: the root path with a slash.

    Empty without a root path, so that links are relative to the page.
    """
    return f"{request.script_root}/" if request.script_root else ""

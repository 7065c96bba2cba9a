"""The X-Forwarded-… headers of the proxies in front, checked before they are used.

EMOTION_PROXIES says how many values of each header, counted from the right, come from proxies. Each
of these is checked and normalized; Werkzeug's ProxyFix then uses the one that the outermost proxy
set. Values further to the left come from the client and are ignored.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from app.api.origin import parse_authority
from app.errors import MalformedInput

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROBLEM = "emotion.forwarded_problem"  # key in the WSGI environment

_PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}", re.ASCII)


def init_forwarded(app: Flask, proxies: int) -> None:
    """Use the headers of `proxies` proxies. A request with an invalid value is answered with
    400."""
    application = ProxyFix(
        app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies, x_prefix=proxies
    )
    app.wsgi_app = CheckedForwarding(application, proxies)  # type: ignore[method-assign]

    @app.before_request
    def refuse() -> None:
        if problem := request.environ.get(PROBLEM):
            raise MalformedInput(problem)


class CheckedForwarding:
    """WSGI middleware. When a value is invalid, it removes all these headers and stores the reason
    in the environment under PROBLEM."""

    def __init__(self, application: "WSGIApplication", proxies: int) -> None:
        self._application = application
        self._proxies = proxies

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        for name, (check, allowed) in CHECKS.items():
            key = f"HTTP_{name.upper().replace('-', '_')}"
            if (text := environ.pop(key, None)) is None:
                continue
            try:
                # An empty value counts: without it another one would be taken for the proxy's.
                given = [_unquoted(each.strip()) for each in text.split(",")][-self._proxies :]
                values = [check(each) for each in given]
            except ValueError:
                environ[PROBLEM] = f"{name} must be {allowed}: a proxy sent another value"
            else:
                environ[key] = ", ".join(values)
        if PROBLEM in environ:
            for name in CHECKS:
                environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
        return self._application(environ, start_response)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _address(text: str) -> str:
    """An IP address in its shortest form, without the port that some proxies add. Raises
    ValueError."""
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    address = ipaddress.ip_address(text)
    if getattr(address, "scope_id", None):
        raise ValueError(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _scheme(text: str) -> str:
    if text.lower() not in ("http", "https"):
        raise ValueError(text)
    return text.lower()


def _host(text: str) -> str:
    if parse_authority(text, "http") is None:
        raise ValueError(text)
    return text.lower()


def parse_prefix(text: str) -> str:
    """Return a path without a slash at its end. No segment begins with a dot, so there is no `..`,
    and none is empty: in a link, `//` would begin the name of a host. Raises ValueError."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(text)
    return text.rstrip("/")


CHECKS: dict[str, tuple[Callable[[str], str], str]] = {
    "X-Forwarded-For": (_address, "an IP address"),
    "X-Forwarded-Proto": (_scheme, "http or https"),
    "X-Forwarded-Host": (_host, "a host name or IP address, with or without a port"),
    "X-Forwarded-Prefix": (parse_prefix, "a path such as /emotion, of letters, digits and .-_~"),
}

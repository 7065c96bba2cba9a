"""Checks the X-Forwarded-… headers of proxies before the service uses them.

EMOTION_PROXIES is the number N of proxies in front of the service. The last N values of each header
come from proxies: they are checked and normalized, and Werkzeug's ProxyFix uses the value of the
outermost proxy. Values further to the left come from the client and are ignored.
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
    """Trust the forwarded headers of `proxies` proxies. An invalid value gets a 400 response."""
    application = ProxyFix(
        app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies, x_prefix=proxies
    )
    app.wsgi_app = CheckedForwarding(application, proxies)  # type: ignore[method-assign]

    @app.before_request
    def reject_invalid() -> None:
        if problem := request.environ.get(PROBLEM):
            raise MalformedInput(problem)


class CheckedForwarding:
    """WSGI middleware that checks and normalizes the headers in CHECKS.

    If a value is invalid, it removes all these headers and stores the reason in the WSGI
    environment under PROBLEM.
    """

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
                # Keep empty values. Without them, a value of the client could be among the last N.
                proxy_values = text.split(",")[-self._proxies :]
                values = [check(_unquoted(each.strip())) for each in proxy_values]
            except ValueError:
                environ[PROBLEM] = f"{name} must be {allowed}: a proxy sent a different value"
            else:
                environ[key] = ", ".join(values)
        if PROBLEM in environ:
            for name in CHECKS:
                environ.pop(f"HTTP_{name.upper().replace('-', '_')}", None)
        return self._application(environ, start_response)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _address(text: str) -> str:
    """Return an IP address in its shortest form, without the port that some proxies add.

    Raises ValueError.
    """
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
    """Return a path prefix without a slash at the end. Raises ValueError for an invalid prefix.

    A segment must not begin with a dot, which excludes `..`. A segment must not be empty, because
    `//` at the beginning of a link is followed by a host name.
    """
    if not _PREFIX.fullmatch(text):
        raise ValueError(text)
    return text.rstrip("/")


CHECKS: dict[str, tuple[Callable[[str], str], str]] = {
    "X-Forwarded-For": (_address, "an IP address"),
    "X-Forwarded-Proto": (_scheme, "http or https"),
    "X-Forwarded-Host": (_host, "a host name or IP address, with or without a port"),
    "X-Forwarded-Prefix": (
        parse_prefix,
        "a path such as /emotion that consists of letters, digits and .-_~",
    ),
}

"""Detects the origin of requests without a key: this machine, a proxy, or a page of another site.

Functions named `*_objection` return None for an accepted request. Otherwise they return the
reason for the rejection as a clause, for example "the request comes from another machine". They
ignore API keys.
"""

import ipaddress
import re
from typing import NamedTuple

from flask import Request

from app.settings import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_QUOTE = 80

# Headers that proxies, content delivery networks and load balancers add and that clients do not
# send. Each vendor uses other names, so these are patterns and not a list of names.
_PROXY_HEADER = re.compile(
    r"""
    forward | proxy | ^via$ | -via$
    | (client|real|connecting|connection|remote|originating|source|peer|user) -? (ip|addr)
    | ^x-(original|rewrite|envoy|amz|amzn|appengine|arr|azure|akamai|cloud|vercel|varnish|nf)\b
    | ^(akamai|cdn|cf|fastly|fly|incap|ngrok|surrogate|tailscale)-
    | ^x-(scheme|url-scheme|host|ssl|request-start)\b | ^front-end-https$ | ^ssl-
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?", re.I | re.A)


class Authority(NamedTuple):
    """A host name or IP address, lower case and without a trailing dot, and a port."""

    name: str
    port: int


def parse_authority(text: str, scheme: str) -> Authority | None:
    """Parse `host[:port]`. The default port is the port of `scheme`.

    Return None for other texts, for example with user info, a path or an IPv6 zone.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    ipv6, name, digits = match.groups()
    port = int(digits) if digits else DEFAULT_PORTS[scheme]
    if ipv6 is not None and not is_ip_address(ipv6):
        return None
    name = (ipv6 or name).lower().removesuffix(".")
    return Authority(name, port) if name and 0 < port < 65536 else None


def is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def remote_objection(request: Request, origins: frozenset[str]) -> str | None:
    """Return the reason why the request is not considered local.

    A local request comes from this machine, not through a proxy, and not from a page of a site that
    is missing in `origins`.
    """
    if not is_loopback(request.remote_addr or ""):
        return "the request comes from another machine"
    if evidence := _proxy_evidence(request):
        return f"a proxy was detected: {evidence}"
    host, port = _authority(request), request.environ.get("SERVER_PORT")
    if host is None or not is_loopback(host.name) or str(host.port) != port:
        return (
            f"the Host header is not 127.0.0.1:{port} or localhost:{port}, so the request "
            "may come through a proxy or from a page of a different site"
        )
    return cross_site_objection(request, origins)


def host_objection(request: Request, allowed: frozenset[str]) -> str | None:
    """Return the reason why the host is rejected, or None.

    IP addresses, names of this machine and the names in `allowed` are accepted.

    In a DNS rebinding attack, the host name of a foreign page resolves to this service. The browser
    then treats both as the same origin, so only the Host header reveals the attack. An IP address
    cannot be rebound.
    """
    host = _authority(request)
    if host is None:
        return "the Host header is missing, malformed or not the host of the request target"
    if is_ip_address(host.name) or is_loopback(host.name) or host.name in allowed:
        return None
    return f"the host {_quote(host.name)} is not allowed"


def cross_site_objection(request: Request, origins: frozenset[str]) -> str | None:
    """Return the reason why the request is considered cross-site.

    Pages of this service, pages of `origins` and clients other than browsers are accepted.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin in origins:
            return None
        if not _is_same_origin(origin, request):
            return f"a page of another site sent the request: Origin {_quote(origin)}"
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none"):
        return f"a page of another site sent the request: Sec-Fetch-Site {_quote(site)}"
    return None


def _proxy_evidence(request: Request) -> str | None:
    for name, _ in request.headers:
        if _PROXY_HEADER.search(name):
            return "header " + re.sub(r"\bIp\b", "IP", name[:MAX_QUOTE])
    # By default, nginx before 1.29.7 sends HTTP/1.0 and the host of the upstream, and adds no
    # header.
    if request.environ.get("SERVER_PROTOCOL") in (None, "HTTP/0.9", "HTTP/1.0"):
        return "HTTP/1.0"
    return None


def _authority(request: Request) -> Authority | None:
    """Return the authority of the Host header.

    None if the header is invalid or if the request target contains another authority.
    """
    host = parse_authority(request.environ.get("HTTP_HOST", ""), request.scheme)
    # gunicorn and Werkzeug's server pass the unchanged target.
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/"
    if target.startswith(("/", "*")):
        return host
    # The target is in absolute form, as clients send it to proxies.
    scheme, _, rest = target.partition("://")
    scheme = scheme.lower()
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    same = scheme in DEFAULT_PORTS and parse_authority(authority, scheme) == host
    return host if same else None


def _is_same_origin(origin: str, request: Request) -> bool:
    scheme, _, rest = origin.partition("://")
    host = _authority(request)
    return host is not None and scheme == request.scheme and parse_authority(rest, scheme) == host


def _quote(text: str) -> str:
    return ascii(text if len(text) <= MAX_QUOTE else f"{text[:MAX_QUOTE]}...")

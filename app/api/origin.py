"""Where a request without a key comes from: this machine, a proxy, or a page of another site.

The functions that end in `_objection` return None when the request is acceptable, otherwise a
clause for the client that says why it is not, such as "the request comes from another machine".
They do not look at keys.
"""

import ipaddress
import re
from typing import NamedTuple

from flask import Request

from app.settings import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_QUOTE = 80

# Headers that proxies, content delivery networks and load balancers add and that clients do not
# send. Patterns instead of a list of names, because each vendor has its own names.
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
    """`host[:port]` with the default port of `scheme`; None for anything else, such as user info,
    a path or an IPv6 zone."""
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
    """Why the request does not count as one of a client on this machine: it came from another
    machine, through a proxy, or from a page of a site that is not in `origins`."""
    if not is_loopback(request.remote_addr or ""):
        return "the request comes from another machine"
    if sign := _proxy_sign(request):
        return f"a proxy was detected: {sign}"
    host, port = _authority(request), request.environ.get("SERVER_PORT")
    if host is None or not is_loopback(host.name) or str(host.port) != port:
        return (
            f"a proxy or a foreign name was detected: the Host header is not 127.0.0.1:{port} or "
            f"localhost:{port}"
        )
    return cross_site_objection(request, origins)


def host_objection(request: Request, allowed: frozenset[str]) -> str | None:
    """Why the host of the request is refused: it is not an IP address, this machine or in
    `allowed`.

    A page whose own host name was made to point to this service (DNS rebinding) has the same origin
    for a browser, so only the host name shows it. An IP address cannot be rebound.
    """
    host = _authority(request)
    if host is None:
        return "the Host header is missing, malformed or not the host of the request target"
    if is_ip_address(host.name) or is_loopback(host.name) or host.name in allowed:
        return None
    return f"the host {_quote(host.name)} is not allowed"


def cross_site_objection(request: Request, origins: frozenset[str]) -> str | None:
    """Why the request counts as one of a page of another site. Pages of the service itself and of
    `origins` are allowed, and so are clients that are not browsers."""
    origin = request.headers.get("Origin")
    if origin is not None:
        if origin in origins:
            return None
        if not _is_own(origin, request):
            return f"a page of another site sent the request: Origin {_quote(origin)}"
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none"):
        return f"a page of another site sent the request: Sec-Fetch-Site {_quote(site)}"
    return None


def _proxy_sign(request: Request) -> str | None:
    for name, _ in request.headers:
        if _PROXY_HEADER.search(name):
            return "header " + re.sub(r"\bIp\b", "IP", name[:LONGEST_QUOTE])
    # nginx before 1.29.7 sends HTTP/1.0 to its upstream unless configured otherwise, and a Host
    # header that names the upstream. There may be no other sign of it.
    if request.environ.get("SERVER_PROTOCOL") in (None, "HTTP/0.9", "HTTP/1.0"):
        return "HTTP/1.0"
    return None


def _authority(request: Request) -> Authority | None:
    """The host of the Host header; None if it is invalid or the request target names another."""
    host = parse_authority(request.environ.get("HTTP_HOST", ""), request.scheme)
    # gunicorn and Werkzeug's server keep the target unchanged.
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/"
    if target.startswith(("/", "*")):
        return host
    # The absolute form of a target, which clients send to proxies.
    scheme, _, rest = target.partition("://")
    scheme = scheme.lower()
    named = re.split("[/?#]", rest, maxsplit=1)[0]
    same = scheme in DEFAULT_PORTS and parse_authority(named, scheme) == host
    return host if same else None


def _is_own(origin: str, request: Request) -> bool:
    scheme, _, rest = origin.partition("://")
    host = _authority(request)
    return host is not None and scheme == request.scheme and parse_authority(rest, scheme) == host


def _quote(text: str) -> str:
    return ascii(text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}...")

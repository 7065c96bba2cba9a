"""Where a request without a key comes from: this machine, a proxy, or a page of another site.

The functions that end in `_objection` return None when there is nothing to object to, otherwise
the end of the sentence "… because <objection>" for the client. None of them looks at a key.
"""

import ipaddress
import re
from typing import NamedTuple

from flask import Request

from app.settings import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}
LONGEST_QUOTE = 80

# Headers that proxies, content delivery networks and load balancers add, and that no client sends
# of its own accord. Families and not a list of names: every vendor has names of its own.
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
    """To the claim that a client on this machine sent the request, and no page of another site
    but those of `origins` made it do so."""
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
    """To the host that the request names. A page that had its own name point here (DNS rebinding)
    is of the same origin to a browser; only the name tells. An IP address cannot be rebound."""
    host = _authority(request)
    if host is None:
        return "the Host header is missing, malformed or not the host of the request target"
    if is_ip_address(host.name) or is_loopback(host.name) or host.name in allowed:
        return None
    return f"the host {_quote(host.name)} is not allowed"


def cross_site_objection(request: Request, origins: frozenset[str]) -> str | None:
    """To the site whose page sent the request: the service itself and `origins` are allowed, and
    so are clients that are no browser."""
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
    # nginx speaks HTTP/1.0 to its upstream unless told otherwise (before 1.29.7), with a Host
    # header that names the upstream, so that nothing else may give it away.
    if request.environ.get("SERVER_PROTOCOL") in (None, "HTTP/0.9", "HTTP/1.0"):
        return "HTTP/1.0"
    return None


def _authority(request: Request) -> Authority | None:
    """What the Host header names; None also where the request target names something else."""
    host = parse_authority(request.environ.get("HTTP_HOST", ""), request.scheme)
    # gunicorn keeps the target as it came, Werkzeug's server too.
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "/"
    if target.startswith(("/", "*")):
        return host
    # The absolute form, which clients send to proxies.
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

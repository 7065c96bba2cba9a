"""Validates the address and the API key, and selects proxies and certificates."""

import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

# Names from common hosts files. They always mean the local machine, even if the hosts file of this
# machine does not list them.
_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
    | {"localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6"}
)


def checked_base_url(base_url: str, *, name: str = "base_url", key_name: str = "api_key") -> str:
    """Return the address as `requests` will use it, without a trailing slash.

    Error messages use `name` for the address and `key_name` for the API key. Raises ValueError for
    an invalid address. The message never contains a password.
    """
    if "@" in base_url:
        raise ValueError(
            f"{name} must not contain a user name or password: pass the API key as {key_name}"
        )
    if not base_url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{name} must begin with http:// or https://, got {base_url!r}")
    if any(character in base_url for character in "?#\\"):
        raise ValueError(f"{name} must not contain a query or fragment, got {base_url!r}")
    try:
        # Use the parser of requests, because another parser might read a different host.
        url = requests.Request("GET", base_url.strip()).prepare().url or ""
        _ = urlsplit(url).port
    except (requests.RequestException, ValueError) as error:
        raise ValueError(f"{name} is not a valid URL: {error}") from error
    return url.rstrip("/")


def checked_header_value(name: str, value: str) -> str:
    """Return the value of a header without surrounding spaces.

    Raises ValueError for an invalid value. The message never contains the value, which may be
    secret.
    """
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} must be ASCII text without line breaks, and must not be empty")
    return value


def is_this_machine(host: str) -> bool:
    """Return True if a host name or address means the local machine.

    Resolves names other than `localhost`. See Transport for the rule.
    """
    host = host.rstrip(".").lower()
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    if not host:
        return False
    try:
        return is_loopback(host.strip("[]"))
    except ValueError:
        pass
    try:  # short and numeric forms such as 127.1
        return is_loopback(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        return _resolves_to_this_machine(host)


def is_loopback(text: str) -> bool:
    """Return whether an IP address is a loopback or unspecified address. Raises ValueError."""
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _resolves_to_this_machine(name: str) -> bool:
    try:
        results = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        if all(is_loopback(str(address[0])) for *_, address in results):
            return bool(results)
    except (OSError, ValueError):  # overlong names raise UnicodeError, which is a ValueError
        return False
    host_name = socket.gethostname().lower()
    if name != host_name and name.partition(".")[0] != host_name.partition(".")[0]:
        return False
    return all(_is_local(family, address) for family, *_, address in results)


def _is_local(family: int, address: Any) -> bool:
    """Return whether a local interface has the address. A socket can bind no other address."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def environment_proxies(base_url: str) -> dict[str, str]:
    """Return the proxies that the environment sets for a service. Empty for the local machine."""
    proxies = dict(get_environ_proxies(base_url))
    if proxies and is_this_machine(urlsplit(base_url).hostname or ""):
        return {}
    return proxies


def new_session(proxies: dict[str, str], *, trust_env: bool) -> requests.Session:
    """Return a session with these proxies. With `trust_env`, it uses the CA bundle that the
    environment sets."""
    session = requests.Session()
    # With session.trust_env, requests would replace the API key with a password from ~/.netrc and
    # use a proxy for the local machine.
    session.trust_env = False
    session.proxies = dict(proxies)
    if trust_env:
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        session.verify = bundle or True
    return session

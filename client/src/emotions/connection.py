"""Checks the address and the API key, and chooses proxies and certificates."""

import ipaddress
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

# Of the hosts files of systems. They never name another machine, also where they are missing.
_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
    | {"localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6"}
)


def checked_base_url(base_url: str, *, name: str = "base_url", key_name: str = "api_key") -> str:
    """Return the address as `requests` will use it, without a slash at the end. `name` and
    `key_name` are what messages call the address and the API key.

    Raises ValueError. The message never repeats a password.
    """
    if "@" in base_url:
        raise ValueError(
            f"{name} must not contain a user name or password: pass the API key as {key_name}"
        )
    if not base_url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{name} must begin with http:// or https://, got {base_url!r}")
    if any(sign in base_url for sign in "?#\\"):
        raise ValueError(f"{name} must not contain a query or fragment, got {base_url!r}")
    try:
        # The parser of requests decides: another parser might read the host differently.
        url = requests.Request("GET", base_url.strip()).prepare().url or ""
        _ = urlsplit(url).port
    except (requests.RequestException, ValueError) as error:
        raise ValueError(f"{name} is not a valid URL: {error}") from error
    return url.rstrip("/")


def checked_header_value(name: str, value: str) -> str:
    """Return the value of an argument that is sent in a header, without spaces around it.

    Raises ValueError. The message never repeats the value, which may be a key.
    """
    value = value.strip()
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} must be ASCII text without line breaks, and not be empty")
    return value


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address means the machine on which this program runs.

    Resolves names other than those of `localhost`. See Transport for the rule.
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
    try:  # short and numeric forms, as 127.1
        return is_loopback(socket.inet_ntoa(socket.inet_aton(host)))
    except OSError:
        return _resolves_to_this_machine(host)


def is_loopback(text: str) -> bool:
    """Raises ValueError if the text is not an address."""
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _resolves_to_this_machine(name: str) -> bool:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        if all(is_loopback(str(address[0])) for *_, address in found):
            return bool(found)
    except (OSError, ValueError):  # UnicodeError, a ValueError: too long for a host name
        return False
    own = socket.gethostname().lower()
    if name != own and name.partition(".")[0] != own.partition(".")[0]:
        return False
    return all(_is_own(family, address) for family, *_, address in found)


def _is_own(family: int, address: Any) -> bool:
    """Whether an interface of this machine has the address: others cannot be bound."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def environment_proxies(base_url: str) -> dict[str, str]:
    """Return the proxies of the environment for one service: none if it is on this machine."""
    proxies = dict(get_environ_proxies(base_url))
    if proxies and is_this_machine(urlsplit(base_url).hostname or ""):
        return {}
    return proxies


def new_session(proxies: dict[str, str], *, trust_env: bool) -> requests.Session:
    """Return a session with these proxies, and with the CA bundle of the environment if `trust_env`
    allows it."""
    session = requests.Session()
    # With its own trust_env, requests would replace the API key by a password of ~/.netrc and send
    # requests to this machine to a proxy.
    session.trust_env = False
    session.proxies = dict(proxies)
    if trust_env:
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        session.verify = bundle or True
    return session

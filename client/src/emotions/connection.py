"""Checks the address and the API key, and chooses proxies and certificates."""

import ipaddress
import os
import socket
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies


def checked_base_url(base_url: str) -> str:
    """Return the address as `requests` will use it, without a slash at the end.

    Raises ValueError. The message never repeats a password.
    """
    if "@" in base_url:
        raise ValueError(
            "base_url must not contain a user name or password: pass the API key as api_key"
        )
    if not base_url.lower().startswith(("http://", "https://")):
        raise ValueError(f"base_url must begin with http:// or https://, got {base_url!r}")
    if any(sign in base_url for sign in "?#\\"):
        raise ValueError(f"base_url must not contain a query or fragment, got {base_url!r}")
    try:
        # The parser of requests decides: another parser might read the host differently.
        url = requests.Request("GET", base_url.strip()).prepare().url or ""
        _ = urlsplit(url).port
    except (requests.RequestException, ValueError) as error:
        raise ValueError(f"base_url is not a valid URL: {error}") from error
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
    """Return whether a host name or address means the machine on which this program runs."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        try:  # short and numeric forms, as 127.1
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def new_session(base_url: str, *, trust_env: bool) -> requests.Session:
    """Return a session for one service, with the proxies and the CA bundle of the environment if
    `trust_env` allows them."""
    session = requests.Session()
    # With its own trust_env, requests would replace the API key by a password of ~/.netrc and send
    # requests to this machine to a proxy.
    session.trust_env = False
    if trust_env:
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        session.verify = bundle or True
        if not is_this_machine(urlsplit(base_url).hostname or ""):
            session.proxies = dict(get_environ_proxies(base_url))
    return session

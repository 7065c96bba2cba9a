"""Decides which hosts and IP addresses the fetcher may connect to."""

import ipaddress
import re
from dataclasses import dataclass

PORTS = {"https": 443, "http": 80}

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label must not be a number: some resolvers read 127.1 and 0x7f000001 as addresses.
HOST_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*(?!\d+$|0x[0-9a-f]*$){_LABEL}", re.ASCII)

# IPv6 is limited to global unicast. IPv4-mapped and NAT64 addresses are outside this network; 6to4
# and Teredo are excluded below. `ipaddress.is_global` is not used, because its definition differs
# between versions of Python.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a provider's customers (CGNAT)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # platform services of Azure, at a public address
        "169.254.0.0/16",  # link-local, and the metadata services of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, and the metadata service of Oracle Cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]


@dataclass(frozen=True, slots=True)
class Host:
    """A host from which images may be fetched.

    `name` is in lower case. `.example.com` means all subdomains of example.com. `port` None means
    the default port of the scheme.
    """

    name: str
    port: int | None = None

    def covers(self, name: str, port: int, scheme: str) -> bool:
        matches = name.endswith(self.name) if self.name.startswith(".") else name == self.name
        return matches and port == (PORTS[scheme] if self.port is None else self.port)


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Parse a list such as `"images.example.com, .example.org, example.net:8443"`.

    An empty text means no hosts. Raises ValueError, with a message for the operator, for an invalid
    host name or port, an IP address or a whole top-level domain.
    """
    return tuple(_parse_host(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse_host(entry: str) -> Host:
    name, colon, port = entry.lower().partition(":")
    name = name.removesuffix(".")
    if not HOST_NAME.fullmatch(name.removeprefix(".")):
        raise ValueError(
            f"{entry!r} is not a valid host: use a host name such as images.example.com, "
            ".example.com or example.com:8443"
        )
    if name.startswith(".") and "." not in name[1:]:
        raise ValueError(
            f"{entry!r} would allow a whole top-level domain: use a domain such as .example.com"
        )
    if colon and not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ValueError(f"{entry!r} has an invalid port: use a number from 1 to 65535")
    return Host(name, int(port) if colon else None)


def is_public(address: str) -> bool:
    """Return whether an IP address is publicly routable. False for text that is not an address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return not any(ip in network for network in _NOT_PUBLIC)

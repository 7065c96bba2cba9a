"""Client addresses for rate limits and for the limit on wrong API keys."""

import ipaddress

IPV6_NETWORK_BITS = 64


def counted_address(remote_addr: str | None) -> str:
    """Return the IPv4 address, or the /64 network of an IPv6 address, as the key of a counter.

    One machine can use all addresses of a /64 network. All clients without a valid address share
    the key "unknown".
    """
    try:
        address = ipaddress.ip_address((remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))

"""The address by which limits count a client."""

import ipaddress

IPV6_NETWORK_BITS = 64


def counted_address(remote_addr: str | None) -> str:
    """The client's IPv4 address, or the /64 network of its IPv6 address, because one machine can
    use all addresses of such a network. Clients without a valid address count as one client."""
    try:
        address = ipaddress.ip_address((remote_addr or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))

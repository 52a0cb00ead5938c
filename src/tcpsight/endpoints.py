"""Endpoints as people write them: ``10.0.0.1:3306``, ``[::1]:80``, ``:5432``."""

import ipaddress

from tcpsight.connections import Server
from tcpsight.errors import UsageError
from tcpsight.tables import IPV4_PREFIX

HIGHEST_PORT = 65_535


def packed_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """Give the 16 bytes that tables hold: IPv4 behind ``::ffff:``."""
    return IPV4_PREFIX + address.packed if address.version == 4 else address.packed


def server_at(address: bytes) -> Server:
    """Give whatever serves at an address, at any port; 16 bytes, IPv4 behind ``::ffff:``."""
    return Server(address, 0, 4 if address.startswith(IPV4_PREFIX) else 6)


def parse_server(text: str) -> Server:
    """Read ``[ADDRESS]:PORT``: either part may be missing.

    Parameters
    ----------
    text : str
        ``10.0.0.1:3306``, ``[2001:db8::1]:3306``, ``2001:db8::1`` (any port), ``:3306`` or ``3306`` (any address).

    Raises
    ------
    UsageError
        If it is none of these.
    """
    host, port_text = _split(text.strip())
    port = 0
    if port_text:
        if not (port_text.isascii() and port_text.isdigit()) or not 1 <= int(port_text) <= HIGHEST_PORT:
            raise UsageError(f"{text!r} is no server: the port must be a number from 1 to {HIGHEST_PORT}")
        port = int(port_text)
    if not host:
        if not port:
            raise UsageError(f"{text!r} is no server: write ADDRESS:PORT, :PORT, or [IPV6]:PORT")
        return Server(None, port, 0)
    try:
        # A zone (fe80::1%eth0) names an interface of this machine, not of the captured one.
        address = ipaddress.ip_address(host if "%" not in host else "")
    except ValueError:
        raise UsageError(f"{text!r} is no server: {host!r} is no IP address (names are not looked up)") from None
    return Server(packed_address(address), port, address.version)


def parse_port(text: str) -> int:
    """Read a port: a number, or the name of a service.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text.isascii() and text.isdigit() and 1 <= int(text) <= HIGHEST_PORT:
        return int(text)
    # The names are those of tcpdump's text, whose grammar costs too much to be compiled for nothing.
    from tcpsight.capture.text_line import port_of_name

    number = port_of_name(text.encode("utf-8", "replace"))
    if number < 1:
        raise UsageError(f"{text!r} is no port: write a number from 1 to {HIGHEST_PORT}, or the name of a service")
    return number


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not host or (rest and not rest.startswith(":")):
            raise UsageError(f"{text!r} is no server: write [ADDRESS]:PORT")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, colon, port = text.rpartition(":")
    if colon:
        return host, port
    return ("", text) if text.isdigit() else (text, "")

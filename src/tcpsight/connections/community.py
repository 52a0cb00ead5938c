"""Community ID v1: a name for a connection that Zeek, Suricata, Wireshark and others compute alike."""

import base64
import hashlib

from tcpsight.tables import Connections

TCP = 6


def community_id(endpoints: tuple[bytes, int], others: tuple[bytes, int], seed: int = 0) -> bytes:
    """Name a TCP connection by its two endpoints, in either order.

    Parameters
    ----------
    endpoints, others : tuple of (bytes, int)
        Packed address (4 or 16 bytes) and port of either side.
    seed : int
        Two bytes that keep the names of separate networks apart.

    Returns
    -------
    bytes
        ``1:`` and the Base64 of a SHA-1.

    Notes
    -----
    Community ID Flow Hashing, version 1: seed, smaller endpoint's address, larger's, protocol, padding, ports.
    """
    (a, p), (b, q) = sorted((endpoints, others))
    material = seed.to_bytes(2, "big") + a + b + bytes((TCP, 0)) + p.to_bytes(2, "big") + q.to_bytes(2, "big")
    digest = hashlib.sha1(material, usedforsecurity=False).digest()
    return b"1:" + base64.b64encode(digest)


def name_connections(connections: Connections) -> None:
    """Fill the column `community_id` in place."""
    columns = (
        [bytes(a) for a in connections.client_address],
        connections.client_port.tolist(),
        [bytes(a) for a in connections.server_address],
        connections.server_port.tolist(),
        connections.ip_version.tolist(),
    )
    connections.community_id[:] = [
        community_id((client[12:], p), (server[12:], q)) if version == 4 else community_id((client, p), (server, q))
        for client, p, server, q, version in zip(*columns, strict=True)
    ]

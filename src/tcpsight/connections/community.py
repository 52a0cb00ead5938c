"""Community ID v1: a name for a connection that Zeek, Suricata, Wireshark and others compute alike."""

import binascii
import hashlib
from typing import Any

import numpy as np

from tcpsight.tables import Connections

TCP = 6
SEED = b"\0\0"
"""Keeps the names of separate networks apart; everybody's default."""


def name_connections(connections: Connections) -> None:
    """Fill the column `community_id` in place.

    Notes
    -----
    Community ID Flow Hashing, version 1: ``1:`` and the Base64 of the SHA-1 of seed, smaller endpoint's address,
    larger one's, protocol, a zero byte, smaller endpoint's port, larger one's.
    """
    names = np.zeros(len(connections), connections.rows["community_id"].dtype)
    for version, width in ((4, 4), (6, 16)):
        where = np.flatnonzero(connections.ip_version == version)
        if len(where):
            names[where] = _names(connections[where], width)
    connections.rows["community_id"] = names


def _names(connections: Connections, width: int) -> list[bytes]:
    """Name connections whose addresses are `width` bytes long."""
    client = _endpoint(connections.client_address, connections.client_port, width)
    server = _endpoint(connections.server_address, connections.server_port, width)
    # Bytes as on the wire compare as the numbers they are: address first, then port.
    is_client_first = _is_less_or_equal(client, server)
    small = np.where(is_client_first[:, None], client, server)
    large = np.where(is_client_first[:, None], server, client)
    protocol = np.broadcast_to(np.array([TCP, 0], np.uint8), (len(connections), 2))
    parts = (small[:, :width], large[:, :width], protocol, small[:, width:], large[:, width:])
    material = np.ascontiguousarray(np.concatenate(parts, axis=1)).tobytes()
    size = len(material) // len(connections)
    sha1, base64 = hashlib.sha1, binascii.b2a_base64
    return [
        b"1:" + base64(sha1(SEED + material[i : i + size], usedforsecurity=False).digest(), newline=False)
        for i in range(0, len(material), size)
    ]


def _endpoint(addresses: Any, ports: Any, width: int) -> Any:
    """Put address and port side by side as they are on the wire, shape (n, width + 2)."""
    wire_ports = ports.astype(">u2").view(np.uint8).reshape(-1, 2)
    return np.concatenate([addresses[:, 16 - width :], wire_ports], axis=1)


def _is_less_or_equal(left: Any, right: Any) -> Any:
    """Compare rows of bytes, the first that differs deciding, shape (n,)."""
    differs = left != right
    first = differs.argmax(axis=1)
    rows = np.arange(len(left))
    return left[rows, first] <= right[rows, first]

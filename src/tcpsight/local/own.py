"""The connections by which whoever runs this came here: those of the processes that called it, and what sshd tells."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from tcpsight.endpoints import packed_address
from tcpsight.local.processes import ancestors, inodes_of
from tcpsight.local.reading import four_tuple

if TYPE_CHECKING:
    from tcpsight.tables import Sockets

FourTuple = tuple[bytes, int, bytes, int]


def own_connections(sockets: Sockets, proc: str = "/proc") -> set[FourTuple]:
    """Give both endpoints, the local one first, of connections that must not be ended by mistake.

    Parameters
    ----------
    sockets : Sockets
        Those of this machine.
    proc : str
        Where the kernel shows processes.

    Notes
    -----
    Of all processes above this one, sshd among them, as far as this account may look: sudo keeps no variable of sshd.
    """
    held: set[int] = set()
    for pid in ancestors(proc):
        held |= inodes_of(pid, proc)
    found = {four_tuple(row) for row in sockets.rows if int(row["inode"]) in held}
    told = _told_by_sshd()
    return found | {told} if told is not None else found


def _told_by_sshd() -> FourTuple | None:
    with suppress(ValueError):
        remote, remote_port, local, local_port = os.environ.get("SSH_CONNECTION", "").split()
        packed = []
        for text in (local, remote):
            address = ipaddress.ip_address(text.partition("%")[0])
            packed.append(packed_address(address))
        return packed[0], int(local_port), packed[1], int(remote_port)
    return None

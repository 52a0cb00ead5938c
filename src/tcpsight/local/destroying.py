"""Ends connections of this machine by its kernel (SOCK_DESTROY), those that were chosen and no others.

Theory of operation
-------------------
Every connection is looked at once more just before: by its four-tuple and its cookie, which no other socket has, so a
port that was used again in the meantime is another connection and left alone; and by the conditions, which it may not
meet any more (it is idle no longer).
The kernel compares four-tuple and cookie again when it is told to destroy. Then it
sends a RST and gives the process an error (ECONNABORTED). Afterwards the kernel is asked until the socket is no more.

What it cannot see: whether the other side has received the RST; it is sent once.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tcpsight.errors import UsageError
from tcpsight.local.audit import ENDED, FAILED, GONE, SPARED, Outcome
from tcpsight.local.reading import identity_of, read_again

if TYPE_CHECKING:
    import numpy as np

    from tcpsight.local.sock_diag import DiagnosticSocket
    from tcpsight.tables import Sockets

IsChosen = Callable[["Sockets"], bool]

_CONFIRM_S = 1.0
_LOOK_S = 0.01

NO_RIGHT = "ending connections needs the capability CAP_NET_ADMIN, which this process does not have: run as root"
NO_DESTROY = (
    "this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY is not set): "
    "end them by a RST on the wire, with -i INTERFACE"
)


def destroy(asking: DiagnosticSocket, row: np.void, is_chosen: IsChosen) -> Outcome:
    """End one connection, if it still is the one that was chosen.

    Parameters
    ----------
    asking : DiagnosticSocket
        Whom to tell.
    row : void
        A row of `read_sockets`.
    is_chosen : callable
        Tells of the only row of a table whether it meets the conditions.

    Raises
    ------
    UsageError
        The right lacks, or the kernel cannot do it.
    """
    now = read_again(asking, row)
    if not len(now):
        return Outcome(GONE)
    if not is_chosen(now):
        return Outcome(SPARED, "it does not meet the conditions any more")
    family, identity = int(row["family"]), identity_of(row)
    number = asking.destroy(family, identity)
    if number in (errno.ENOENT, errno.ESTALE):
        return Outcome(GONE)
    if number in (errno.EPERM, errno.EACCES):
        raise UsageError(NO_RIGHT)
    if number in (errno.EOPNOTSUPP, errno.EINVAL):
        raise UsageError(NO_DESTROY)
    if number:
        return Outcome(FAILED, os.strerror(number))
    until = time.monotonic() + _CONFIRM_S
    while asking.one(family, identity) is not None:
        if time.monotonic() > until:
            return Outcome(FAILED, "the kernel still has it")
        time.sleep(_LOOK_S)
    return Outcome(ENDED)

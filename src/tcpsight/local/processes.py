"""Whose a socket is: the processes that hold its inode open, by what ``/proc`` shows of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

NAME_BYTES = 15
"""The kernel keeps so much of a process's name."""


class Process(NamedTuple):
    """A process that holds a socket.

    Attributes
    ----------
    pid : int
        The lowest of those that hold it.
    name : str
        What the kernel calls it; any characters.
    holders : int
        How many processes hold it.
    """

    pid: int
    name: str
    holders: int


def holders(proc: str = "/proc") -> dict[int, Process]:
    """Give the process behind the inode of every socket, as far as this account may look.

    Parameters
    ----------
    proc : str
        Where the kernel shows processes.
    """
    found: dict[int, Process] = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdecimal()):  # noqa: PTH208 - names are enough
        inodes = _inodes(f"{proc}/{pid}/fd")
        if not inodes:
            continue
        name = ""
        with suppress(OSError):
            name = Path(f"{proc}/{pid}/comm").read_bytes()[: NAME_BYTES + 1].rstrip(b"\n").decode("utf-8", "replace")
        for inode in inodes:
            known = found.get(inode)
            found[inode] = Process(pid, name, 1) if known is None else known._replace(holders=known.holders + 1)
    return found


def ancestors(proc: str = "/proc") -> list[int]:
    """Give the numbers of the processes that called this one, the nearest first."""
    found: list[int] = []
    at = "self"
    while True:
        try:
            status = Path(f"{proc}/{at}/status").read_text("utf-8", "replace")
            pid = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
        except (OSError, ValueError, IndexError, StopIteration):
            return found
        if pid <= 0 or pid in found:
            return found
        found.append(pid)
        at = str(pid)


def inodes_of(pid: int, proc: str = "/proc") -> set[int]:
    """Give the inodes of the sockets that a process holds; none where it may not be looked at."""
    return _inodes(f"{proc}/{pid}/fd")


def _inodes(folder: str) -> set[int]:
    """Give the inodes of the sockets that a process holds; none where it may not be looked at, or has ended."""
    inodes = set()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError, ValueError):
                target = os.readlink(entry.path)  # noqa: PTH115 - thousands of them
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    return inodes

"""Wait until a program under test captures: other tests capture at the same time, so counting sockets tells nothing."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def wait_until_it_captures(process: subprocess.Popen[Any], timeout_s: float = 30) -> None:
    """Return when the process or a child of it has a packet socket that is bound.

    Raises
    ------
    TimeoutError
        It has none after that time, or it has ended.
    """
    deadline = time.monotonic() + timeout_s
    while not _bound_sockets(process.pid) & _sockets_of_family(process.pid):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"{process.args!r} does not capture")
        time.sleep(0.05)


def _bound_sockets(pid: int) -> set[str]:
    """Give the inodes of the packet sockets that take frames where a process is: bound they have a protocol."""
    try:
        text = Path(f"/proc/{pid}/net/packet").read_text()
    except OSError:  # it has ended
        return set()
    lines = [line.split() for line in text.splitlines()[1:]]
    return {words[8] for words in lines if words[3] != "0000"}


def _sockets_of_family(root: int) -> set[str]:
    """Give the inodes of the sockets of a process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    family, size = {root}, 0
    while size != len(family):
        size = len(family)
        family |= {child for child, parent in parents.items() if parent in family}
    inodes = set()
    for member in family:
        with suppress(OSError):
            for entry in Path(f"/proc/{member}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return inodes

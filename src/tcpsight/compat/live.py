"""What an interface carries, as the older tools captured it: for some time, or until Ctrl-C."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcpsight.errors import TcpsightError
from tcpsight.listening import Listening

if TYPE_CHECKING:
    from tcpsight.pipeline import Options

SNAPLEN = 256
"""Enough for every header, as the older tools took it."""

_UP, _LOOPBACK = 0x1, 0x8  # IFF_UP, IFF_LOOPBACK; /sys knows no IFF_RUNNING


@contextmanager
def listening_to(
    interface: str, expression: str, options: Options | None = None, *, seconds: float = 0
) -> Iterator[Listening]:
    """Give what listens, for some time or until Ctrl-C.

    Parameters
    ----------
    interface : str
        Where; empty for the first that is up.
    expression : str
        Capture filter.
    options : Options, optional
        Which rows, and how they are made.
    seconds : float
        How long; 0 without end.
    """
    found = Listening([interface or first_up()], options, expression=expression, snaplen=SNAPLEN, promiscuous=False)
    timer = threading.Timer(seconds, found.stop) if seconds else None
    is_main = threading.current_thread() is threading.main_thread()
    usual = signal.signal(signal.SIGINT, lambda *_: found.stop()) if is_main else None
    try:
        if timer is not None:
            timer.daemon = True
            timer.start()
        yield found
    finally:
        if timer is not None:
            timer.cancel()
        if is_main:
            signal.signal(signal.SIGINT, usual)


def first_up() -> str:
    """Name the interface that libpcap would choose: the first that is up, those with a cable in it before others.

    Loopback is taken only for want of others.

    Raises
    ------
    TcpsightError
        None is up.
    """
    flags = {name: _flags_of(name) for _, name in sorted(socket.if_nameindex())}
    up = [name for name, found in flags.items() if found & _UP]
    if not up:
        raise TcpsightError("no interface is up")
    return min(up, key=lambda name: (bool(flags[name] & _LOOPBACK), not _has_carrier(name)))


def _has_carrier(interface: str) -> bool:
    """Tell whether a cable is in it; of what has none, nothing else is known."""
    try:
        return (Path("/sys/class/net") / interface / "carrier").read_text("ascii").strip() == "1"
    except (OSError, ValueError):
        return True


def _flags_of(interface: str) -> int:
    """Give IFF_* bits; where the system does not tell them, whatever is not called like loopback counts as up."""
    try:
        return int((Path("/sys/class/net") / interface / "flags").read_text("ascii"), 16)
    except (OSError, ValueError):
        return _UP | (_LOOPBACK if interface.startswith("lo") else 0)

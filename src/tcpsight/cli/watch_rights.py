"""What ``tcpsight watch`` gives up once interfaces are open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.cli.watch_options import Wanted

NAMES_ARE_LOOKED_UP_IN = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/run/systemd/resolve",
)
"""What finds a receiver by its name, and tells that it is who it says."""

TERMINALS_ARE_DESCRIBED_IN = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo")


def give_up_rights(wanted: Wanted) -> None:
    """Become another account if need be, drop every right, and fence the process in, as `capture` does.

    Raises
    ------
    UsageError
        There is no such account, or it cannot write where it is to write.
    """
    from tcpsight.capture.privileges import drop_privileges
    from tcpsight.output.feeds.targets import parse_target

    feeding = wanted.feeding
    writable = [] if wanted.recording.record is None else [wanted.recording.record]
    for target in map(parse_target, feeding.targets):
        if target.scheme == "jsonl":
            places = [Path(target.path), Path(os.path.realpath(target.path))]
            writable += [str(place.parent if place.parent.is_dir() else place) for place in places]
    readable = list(TERMINALS_ARE_DESCRIBED_IN) if wanted.lines.is_screen else []
    if wanted.lines.is_screen:
        writable.append("/dev/tty")
    if feeding.targets:
        readable += NAMES_ARE_LOOKED_UP_IN
    may_connect = bool(feeding.targets or feeding.listen)
    drop_privileges(
        user=wanted.user,
        writable=list(dict.fromkeys(writable)),
        readable=[each for each in readable if Path(each).exists()],
        may_connect=may_connect,
    )


def hand_over(folder: str, user: str | None) -> None:
    """Give a folder that was made just now to the account that will write to it."""
    from contextlib import suppress

    from tcpsight.capture.privileges import account_to_become

    account = account_to_become(user)
    if account is not None and os.geteuid() == 0:
        with suppress(OSError):
            os.chown(folder, account.uid, account.gid)

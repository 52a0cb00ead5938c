"""What a command gives up once interfaces are open."""

from __future__ import annotations

import os
from collections.abc import Iterable
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


def give_up_rights(
    user: str | None, writable: Iterable[str], readable: Iterable[str] = (), *, may_connect: bool = False
) -> None:
    """Become another account if need be, drop every right, and fence the process in; tell what this system lacks.

    Raises
    ------
    UsageError
        There is no such account, or it cannot write where it is to write.
    """
    from tcpsight.capture.privileges import drop_privileges
    from tcpsight.cli.notes import warn

    left = drop_privileges(
        user=user,
        writable=list(dict.fromkeys(writable)),
        readable=[each for each in readable if Path(each).exists()],
        may_connect=may_connect,
    )
    if left.missing:
        warn(f"the process is not fenced in as it could be: {' and '.join(left.missing)} cannot be had here")


def places_of(path: str) -> list[str]:
    """List what is written to, or made anew, where a file is written by its name and by the one behind links."""
    places = [Path(path), Path(os.path.realpath(path))]
    is_device = places[0].exists() and not places[0].is_file()
    found = [str(place) for place in places if place.exists()]
    return found if is_device else found + [str(place.parent) for place in places]


def give_up_rights_of_watch(wanted: Wanted) -> None:
    """Give up what a watch does not need any more; see `give_up_rights`."""
    from tcpsight.output.feeds.targets import parse_target

    feeding = wanted.feeding
    writable = [] if wanted.recording.record is None else [wanted.recording.record]
    for target in map(parse_target, feeding.targets):
        if target.scheme == "jsonl":
            writable += places_of(target.path)
    readable = list(TERMINALS_ARE_DESCRIBED_IN) if wanted.lines.is_screen else []
    if wanted.lines.is_screen:
        writable.append("/dev/tty")
    if feeding.targets:
        readable += NAMES_ARE_LOOKED_UP_IN
    give_up_rights(wanted.user, writable, readable, may_connect=bool(feeding.targets or feeding.listen))


def hand_over(folder: str, user: str | None) -> None:
    """Give a folder that was made just now to the account that will write to it."""
    from contextlib import suppress

    from tcpsight.capture.privileges import account_to_become

    account = account_to_become(user)
    if account is not None and os.geteuid() == 0:
        with suppress(OSError):
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)

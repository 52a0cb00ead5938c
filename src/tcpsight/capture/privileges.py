"""Gives up every right that is not needed once interfaces are open, and fences the process in.

Theory of operation
-------------------
Only opening a packet socket needs a right (CAP_NET_RAW). After that, in this order: capabilities leave the bounding
set; a process of root becomes the account that called it by sudo, or one that was named, if what it writes can be
written by that account; no program may gain rights any more (``PR_SET_NO_NEW_PRIVS``); all capabilities are dropped;
Landlock forbids to open files but those of Python and of the folders that are written to, and TCP, unless it is wanted;
a seccomp filter forbids to run programs, to look into other processes, to change the system, and sockets of other kinds
than the wanted ones. What the system does not have is left out, and told.

Sockets and files that are open stay open: an interface that comes back is bound again by the socket it had.

What it cannot do: fence in threads that run already, which keep what they may. It is to be called before any is
started, and tells if there are some.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# linux/prctl.h, linux/capability.h
PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 22, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
MOST_CAPABILITIES = 64

# linux/landlock.h; the numbers of these calls are the same on every architecture but Alpha.
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
LANDLOCK_VERSION = 1
LANDLOCK_PATH_BENEATH = 1
FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}
"""What Landlock can forbid about files, by its version."""

FS_EXECUTE, FS_WRITE_FILE, FS_READ_FILE, FS_READ_DIR = 1, 2, 4, 8
FS_REMOVE_FILE, FS_MAKE_REG, FS_TRUNCATE = 1 << 5, 1 << 8, 1 << 14
FS_OF_A_FILE = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE
NET_BOTH = 3
SCOPE_BOTH = 3

READABLE = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/localtime")
"""Where Python and its libraries may be, beside where they are."""

READABLE_DEVICES = ("/dev/null", "/dev/urandom")

# linux/audit.h, linux/seccomp.h, and the tables of system calls
AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SECCOMP_ALLOW, SECCOMP_REFUSE = 0x7FFF0000, 0x00050000 | 1  # EPERM
X32_BIT = 0x40000000
SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
FORBIDDEN_CALLS = {
    # execve, execveat, ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_getfd, bpf, perf_event_open,
    # userfaultfd, io_uring_setup, init_module, finit_module, delete_module, kexec_load, kexec_file_load, reboot,
    # swapon, mount, umount2, pivot_root, chroot, unshare, setns, open_by_handle_at, add_key, request_key, keyctl,
    # mknodat; and what Landlock lets pass: chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat,
    # setxattr, lsetxattr, fsetxattr, setxattrat, utime, utimes, futimesat, utimensat
    "x86_64": (
        *(59, 322, 101, 310, 311, 312, 438, 321, 298, 323, 425, 175, 313, 176, 246, 320, 169, 167),
        *(165, 166, 155, 161, 272, 308, 304, 248, 249, 250, 259, 133),  # and mknod
        *(90, 91, 268, 452, 92, 93, 94, 260, 188, 189, 190, 463, 132, 235, 261, 280),
    ),
    "aarch64": (
        *(221, 281, 117, 270, 271, 272, 438, 280, 241, 282, 425, 105, 273, 106, 104, 294, 142, 224),
        *(40, 39, 41, 51, 97, 268, 265, 217, 218, 219, 33),
        *(52, 53, 452, 55, 54, 5, 6, 7, 463, 88),
    ),
}
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10

_libc = ctypes.CDLL(None, use_errno=True)


class Dropped(NamedTuple):
    """What is left after rights were given up.

    Attributes
    ----------
    account : str
        Who the process is now.
    capabilities : tuple of int
        What it still may; empty, but for CAP_DAC_OVERRIDE (1) where root writes to what belongs to somebody else.
    missing : tuple of str
        Fences that this system does not have, ``Landlock`` and ``seccomp``; ``threads`` if others run outside of them.
    """

    account: str
    capabilities: tuple[int, ...]
    missing: tuple[str, ...]


def drop_privileges(
    *, user: str | None = None, writable: Sequence[str] = (), readable: Sequence[str] = (), may_connect: bool = False
) -> Dropped:
    """Give up what is not needed any more; there is no way back.

    Parameters
    ----------
    user : str, optional
        The account to become; by default the one that called sudo, if it can write what is written.
    writable : sequence of str
        Folders whose files are made, written and removed; or devices and FIFOs that are written.
    readable : sequence of str
        Files and folders that are still to be read.
    may_connect : bool
        Whether TCP, UDP and Unix sockets are still to be made.

    Returns
    -------
    Dropped

    Raises
    ------
    UsageError
        There is no such account, it may not be taken, or it cannot write what is written.
    """
    kept = _change_account(user, writable) if os.geteuid() == 0 or user is not None else ()
    account = _name_of(os.geteuid())
    if sys.platform != "linux":
        return Dropped(account, (), ("Landlock", "seccomp"))
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return Dropped(account, kept, ("Landlock", "seccomp"))
    _drop_capabilities(kept)
    missing: list[str] = []
    with suppress(OSError):
        missing = ["threads"] if len(os.listdir("/proc/self/task")) > 1 else []  # noqa: PTH208 - names are enough
    if not _restrict_files(writable, readable, may_connect=may_connect):
        missing.append("Landlock")
    if not _restrict_calls(may_connect=may_connect):
        missing.append("seccomp")
    return Dropped(account, kept, tuple(missing))


# ---------------------------------------------------------------------------------------------------------- account


class _Account(NamedTuple):
    uid: int
    gid: int
    groups: tuple[int, ...]

    def can_write(self, path: str) -> bool:
        """Tell whether it may make files in a folder, or write what is no folder, by owner and mode alone."""
        try:
            status = Path(path).stat()
        except OSError:
            return True  # what is not there is told where it is opened
        wanted = 3 if stat.S_ISDIR(status.st_mode) else 2
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in (self.gid, *self.groups) else 0
        return status.st_mode >> shift & wanted == wanted


def _can_read_library(account: _Account) -> bool:
    """Tell whether an account may read the modules that are still to be imported."""
    path = Path(__file__)
    for place, wanted in ((path, 4), *((parent, 1) for parent in path.parents)):
        status = place.stat()
        shift = 6 if status.st_uid == account.uid else 3 if status.st_gid in (account.gid, *account.groups) else 0
        if not status.st_mode >> shift & wanted:
            return False
    return True


def account_to_become(user: str | None) -> _Account | None:
    """Give the account that was named, or the one that called sudo if it can read this library.

    Raises
    ------
    UsageError
        There is no account of that name.
    """
    if user is not None:
        return _named(user)
    found = _caller()
    return found if found is not None and _can_read_library(found) else None


def _change_account(user: str | None, writable: Sequence[str]) -> tuple[int, ...]:
    """Become another account, if there is reason to; give the capabilities that must be kept."""
    found = account_to_become(user)
    is_able = found is not None and all(found.can_write(path) for path in writable)
    if user is not None and not is_able:
        refused = next(path for path in writable if found is not None and not found.can_write(path))
        raise UsageError(f"--user {user}: this account cannot write to {refused}")
    if found is not None and is_able and found.uid != os.geteuid():
        with suppress(OSError):
            _forget_capabilities()
        try:
            os.setgroups(found.groups)
            os.setresgid(found.gid, found.gid, found.gid)
            os.setresuid(found.uid, found.uid, found.uid)
        except OSError as error:
            raise UsageError(f"--user {user}: cannot become this account: {error.strerror}") from None
        return ()
    _forget_capabilities()
    # Without it, root is stopped by the modes of files like anybody else. Landlock says which files these are.
    root = _Account(os.geteuid(), os.getegid(), tuple(os.getgroups()))
    return () if all(root.can_write(path) for path in writable) else (CAP_DAC_OVERRIDE,)


def _named(user: str) -> _Account:
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise UsageError(f"--user {user!r}: there is no such account") from None
    return _Account(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(user, entry.pw_gid)))


def _caller() -> _Account | None:
    """Give the account that called sudo."""
    import pwd

    number = os.environ.get("SUDO_UID", "")
    if not number.isdecimal() or int(number) == 0:
        return None
    try:
        return _named(pwd.getpwuid(int(number)).pw_name)
    except (KeyError, OverflowError, UsageError):
        return None


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# ------------------------------------------------------------------------------------------------------ capabilities


def _forget_capabilities() -> None:
    """Let no program that is run later have any."""
    if sys.platform == "linux":
        for number in range(MOST_CAPABILITIES):
            if _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0):
                break


def _drop_capabilities(kept: Sequence[int]) -> None:
    """Drop all but a few."""
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    mask = sum(1 << number for number in kept)
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    if _libc.capset(header, sets):
        _libc.capset(header, ctypes.create_string_buffer(bytes(24)))  # fewer are there than were to be kept


# ------------------------------------------------------------------------------------------------------------ files


def _restrict_files(writable: Sequence[str], readable: Sequence[str], *, may_connect: bool) -> bool:
    """Let Landlock forbid all other files, and TCP; tell whether it does."""
    version = _libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < 1:
        return False
    handled = FS_RIGHTS[min(version, 3)]
    attributes = [handled]
    if version >= 4:
        attributes.append(0 if may_connect else NET_BOTH)
    if version >= 6:
        attributes.append(0 if may_connect else SCOPE_BOTH)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = _libc.syscall(LANDLOCK_CREATE, packed, ctypes.c_size_t(len(packed)), 0)
    if ruleset < 0:
        return False
    try:
        to_read = FS_READ_FILE | FS_READ_DIR
        for path in {*_libraries(), *readable}:
            _allow(ruleset, path, to_read)
        to_write = FS_WRITE_FILE | FS_TRUNCATE
        for path in READABLE_DEVICES:
            _allow(ruleset, path, FS_READ_FILE | to_write & handled)
        for path in writable:
            _allow(ruleset, path, (to_read | to_write | FS_MAKE_REG | FS_REMOVE_FILE) & handled)
        done: int = _libc.syscall(LANDLOCK_RESTRICT, ruleset, 0)
        return done == 0
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Allow something beneath a folder, or with a file; a path that leads nowhere is left out."""
    with suppress(OSError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                rights &= FS_OF_A_FILE
            rule = struct.pack("=Qi", rights, place)
            _libc.syscall(LANDLOCK_ADD, ruleset, LANDLOCK_PATH_BENEATH, rule, 0)
        finally:
            os.close(place)


def _libraries() -> Iterator[str]:
    """Name where modules that are not imported yet are to be found."""
    yield from READABLE
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix)
    yield from (path for path in sys.path if Path(path).is_absolute())
    yield str(Path(__file__).parents[2])


# ------------------------------------------------------------------------------------------------------------ calls


def _restrict_calls(*, may_connect: bool) -> bool:
    """Let seccomp forbid system calls; tell whether it does."""
    machine = platform.machine()
    if machine not in AUDIT_ARCHITECTURES or sys.maxsize <= 2**32:
        return False
    program = seccomp_program(machine, (AF_UNIX, AF_INET, AF_INET6) if may_connect else (AF_UNIX,))
    kept = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(kept))
    done: int = _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0)
    return done == 0


def seccomp_program(machine: str, families: Sequence[int]) -> bytes:
    """Make the filter: calls of another kind of program and forbidden ones are refused, sockets by their family.

    Parameters
    ----------
    machine : str
        ``x86_64`` or ``aarch64``.
    families : sequence of int
        Address families of which sockets may be made.
    """
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    number_at, architecture_at, first_argument_at = 0, 4, 16
    calls = FORBIDDEN_CALLS[machine]
    # What comes at the end: sockets, then what refuses, then what allows.
    sockets = [(load, 0, 0, first_argument_at)]
    sockets += [(equal, len(families) - i, 0, family) for i, family in enumerate(families)]
    body = [(load, 0, 0, number_at), (at_least, len(calls) + 1 + len(sockets), 0, X32_BIT)]
    for i, call in enumerate(calls):
        body.append((equal, len(calls) - 1 - i + 1 + len(sockets), 0, call))
    body.append((equal, 0, len(sockets) + 1, SOCKET_CALL[machine]))
    head = [(load, 0, 0, architecture_at), (equal, 0, len(body) + len(sockets), AUDIT_ARCHITECTURES[machine])]
    ends = [(answer, 0, 0, SECCOMP_REFUSE), (answer, 0, 0, SECCOMP_ALLOW)]
    return b"".join(struct.pack("=HBBI", *each) for each in (*head, *body, *sockets, *ends))

"""``tcpsight kill``."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values
from tcpsight.cli.options import Decorator, decorated, output_options

if TYPE_CHECKING:
    import numpy as np

    from tcpsight.cli.running import Output
    from tcpsight.local.audit import Outcome
    from tcpsight.local.sock_diag import DiagnosticSocket
    from tcpsight.tables import Sockets, Table
    from tcpsight.where import AnyTable, Where

_CHOOSING: list[Decorator] = [
    click.option("--idle", "idle_ns", type=values.named_duration_ns, metavar="DURATION",
                 help="Only those without data for so long."),
    click.option("--age", "age_ns", type=values.named_duration_ns, metavar="DURATION",
                 help="Only those that are certainly so old."),
    click.option("--state", metavar="STATE", help="Only those in this state, such as established or close_wait."),
]  # fmt: skip
_ENDING: list[Decorator] = [
    click.option("-n", "--dry-run", is_flag=True, help="Only list them; nothing is asked, nothing ended."),
    click.option("--yes", is_flag=True, help="End them without asking: for scripts."),
    click.option("--most", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
                 help="End none if more than so many are chosen."),
    click.option("--reason", default="", metavar="TEXT", help="Why, for the audit lines."),
    click.option("--audit", metavar="FILE", help="Add the audit lines to a file, too, as JSON."),
]  # fmt: skip
_WIRE: list[Decorator] = [
    click.option("-i", "--interface", metavar="IF",
                 help="Instead of this machine's own: connections that pass here, ended by exact RSTs to both sides."),
    click.option("--capture", metavar="FILE", help="Choose among the connections that this capture left open, too."),
    click.option("--listen", "listen_ns", type=values.positive_duration_ns, default="2s", show_default=True,
                 metavar="DURATION", help="With -i: how long to look for connections."),
    click.option("--within", "within_ns", type=values.positive_duration_ns, default="5s", show_default=True,
                 metavar="DURATION", help="With -i: when to give up."),
    click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Zone of times in text."),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be ended, and how."""

    where: str | None
    idle_ns: int | None
    age_ns: int | None
    state: str | None
    dry_run: bool
    yes: bool
    most: int
    reason: str
    audit: str | None
    interface: str | None
    capture: str | None
    listen_ns: int
    within_ns: int
    timezone: str

    def conditions(self, idle: str, age: str) -> list[str]:
        """Give all conditions, each whole in itself; the names are those of the columns that tell idleness and age."""
        parts = [self.where] if self.where and self.where.strip() else []
        parts += [f"{idle} >= {self.idle_ns}ns"] if self.idle_ns is not None else []
        parts += [f"{age} >= {self.age_ns}ns"] if self.age_ns is not None else []
        return [*parts, f"state = {self.state}"] if self.state is not None else parts

    def without_times(self) -> Asked:
        """Give the same without idleness and age."""
        return replace(self, idle_ns=None, age_ns=None)

    @property
    def why(self) -> str:
        """What the audit lines say of it."""
        from tcpsight.output.units import duration

        parts = [self.where] if self.where and self.where.strip() else []
        parts += [f"idle for {duration(self.idle_ns)}"] if self.idle_ns is not None else []
        parts += [f"at least {duration(self.age_ns)} old"] if self.age_ns is not None else []
        parts += [f"state {self.state}"] if self.state is not None else []
        return "; ".join([*parts, self.reason] if self.reason else parts)


def _with(options: list[Decorator]) -> Decorator:
    return lambda function: decorated(function, options)


@click.command("kill")
@_with(_CHOOSING)
@_with([*_ENDING, *_WIRE])
@output_options("remote_address in 10.0.0.0/8 and local_port = 3306")
def command(**given: Any) -> int:
    """End chosen TCP connections, of this machine or seen on the wire.

    \b
    tcpsight kill --where 'local_port = 3306 and remote_address = 10.0.0.7'
    tcpsight kill --where 'process = mysqld' --idle 2h --yes --audit /var/log/kills.jsonl
    tcpsight kill --state close_wait --age 1d --dry-run
    tcpsight kill -i eth0 --where 'server_port = 3306 and client_address = 10.0.0.7'

    They are listed first. On a terminal you are asked before they are ended; elsewhere nothing is ended without --yes.
    Conditions are about the columns of 'sockets', with -i of 'connections'. Each connection is looked at again just
    before: one that has ended, spoken or been replaced meanwhile is left alone. Then it is confirmed that it has
    ended. Needs CAP_NET_ADMIN, or with -i CAP_NET_RAW. Exit status 1 if one has not ended, or nobody knows.
    """
    from tcpsight.cli.running import Output

    given["where"] = given["where"] or None
    asked = Asked(where=given["where"], **{name: given.pop(name) for name in list(given) if name not in _OF_OUTPUT})
    values.zone(asked.timezone)
    if not asked.conditions("idle", "age"):
        raise click.UsageError("nothing was named: say which with --where, --idle, --age or --state")
    if asked.yes and asked.dry_run:
        raise click.UsageError("--yes and --dry-run contradict each other")
    if asked.capture is not None and asked.interface is None and not asked.dry_run:
        raise click.UsageError("--capture needs -i, where RSTs are followed and confirmed; or --dry-run")
    output = Output(**{name: given[name] for name in _OF_OUTPUT})
    for written in (output.output, asked.audit):
        if written is not None and asked.capture is not None:
            values.refuse_output_over_input(written, [asked.capture])
    if asked.interface is None and asked.capture is None:
        return _local(asked, output)
    from tcpsight.cli.kill_wire import on_the_wire

    return on_the_wire(asked, output)


_OF_OUTPUT = ("format", "output", "sort", "columns", "where")


def _local(asked: Asked, output: Output) -> int:
    """End connections of this machine."""
    from tcpsight.cli.notes import warn
    from tcpsight.local.audit import Audit
    from tcpsight.local.own import own_connections
    from tcpsight.local.reading import four_tuple, is_connection, read_sockets
    from tcpsight.local.sock_diag import DiagnosticSocket
    from tcpsight.tables import Sockets
    from tcpsight.where import Where

    conditions = [Where(text, Sockets) for text in asked.conditions("idle_ns", "least_age_ns")]
    reading = read_sockets()
    if reading.is_torn:
        warn("connections came and went while the kernel told them: one may be missing")
    chosen = reading.sockets[is_connection(reading.sockets)]
    for condition in conditions:
        chosen = condition.apply(chosen)
    mine = own_connections(reading.sockets)
    chosen = without_own(chosen, [four_tuple(row) in mine for row in chosen.rows])
    if asked.where is not None and names_process(asked.where):
        chosen = _without_hidden(chosen)
    list_rows(chosen, output, asked)
    if not agreed(asked, len(chosen)):
        return 0
    results = []
    with DiagnosticSocket() as asking, Audit(asked.why, "by the kernel (SOCK_DESTROY)", asked.audit, say) as audit:
        for row in chosen.rows:
            what = _described(row)
            audit.intend(what)
            outcome = _destroyed(asking, row, conditions)
            audit.tell(what, outcome)
            results.append(outcome.is_fine)
    return 0 if all(results) else 1


def without_own(chosen: AnyTable, is_own: list[bool]) -> AnyTable:
    """Leave out the connections by which whoever runs this came here."""
    from tcpsight.cli.notes import warn

    if not any(is_own):
        return chosen
    warn("the connection of your own session is among them: it is left out")
    return chosen[_mask([not each for each in is_own])]


def names_process(where: str) -> bool:
    """Tell whether a condition is about who holds a connection."""
    from tcpsight.where.tokens import tokens

    return any(token.text in ("process", "pid", "holders") for token in tokens(where))


def _without_hidden(chosen: Sockets) -> Sockets:
    """Leave out those of which nobody knows whose they are: any name but theirs would be said of them, too."""
    from tcpsight.cli.notes import warn
    from tcpsight.output.units import counted

    is_hidden = chosen.pid < 0
    if is_hidden.any():
        of = counted(int(is_hidden.sum()), "connection")
        warn(f"the process of {of} cannot be seen, or there is none, and the condition is about it: left out")
        chosen = chosen[~is_hidden]
    return chosen


def _destroyed(asking: DiagnosticSocket, row: np.void, conditions: list[Where]) -> Outcome:
    """End one; that it could not be must not keep the others from their end."""
    from tcpsight.errors import TcpsightError, UsageError
    from tcpsight.local.audit import FAILED, Outcome
    from tcpsight.local.destroying import destroy

    try:
        return destroy(asking, row, lambda table: all(each.mask(table).all() for each in conditions))
    except UsageError:
        raise  # it would be the same of each
    except TcpsightError as error:
        return Outcome(FAILED, str(error))


def list_rows(chosen: Table, output: Output, asked: Asked) -> None:
    """Write the rows that were chosen."""
    from tcpsight.cli.running import in_order

    with output.open(type(chosen), asked.timezone, is_short=True) as writer:
        for table in in_order(iter([chosen]), type(chosen), output.sort):
            writer.write(table)
    sys.stdout.flush()


def agreed(asked: Asked, number: int, meanwhile: Callable[[], object] | None = None) -> bool:
    """Tell whether so many connections are to be ended; ask on a terminal.

    Parameters
    ----------
    asked : Asked
        What is wanted.
    number : int
        How many are chosen.
    meanwhile : callable, optional
        Called again and again while somebody thinks; it takes a moment itself.

    Raises
    ------
    click.UsageError
        They are more than may be.
    """
    from tcpsight.output.units import counted

    of = counted(number, "connection")
    if number == 0:
        return _said("no connection is chosen; nothing was ended")
    # A dry run decides all that the run will decide.
    if number > asked.most:
        raise click.UsageError(f"{of} are chosen, more than --most {asked.most}: nothing was ended")
    if asked.dry_run:
        return _said(f"{of} would be ended; nothing was (--dry-run)")
    if asked.yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return _said(f"{of} would be ended; nothing was, as nobody can be asked here: --yes ends them")
    these = "this connection" if number == 1 else f"these {of}"
    print(f"tcpsight: end {these}? Write yes: ", end="", file=sys.stderr, flush=True)
    while meanwhile is not None and not select.select([sys.stdin], [], [], 0)[0]:
        meanwhile()
    return sys.stdin.readline().strip().lower() == "yes" or _said("nothing was ended")


def _said(text: str) -> bool:
    """Say why nothing is ended."""
    say(text)
    return False


def say(text: str) -> None:
    """Write a line to standard error."""
    from tcpsight.output.units import printable

    with suppress(OSError):  # the terminal has gone
        print(f"tcpsight: {printable(text)}", file=sys.stderr, flush=True)


def _described(row: np.void) -> str:
    from tcpsight.local.reading import cookie_text
    from tcpsight.output.addresses import endpoint_text
    from tcpsight.tables import SOCKET_STATES

    version = int(row["ip_version"])
    local = endpoint_text(row["local_address"].tobytes(), int(row["local_port"]), version)
    remote = endpoint_text(row["remote_address"].tobytes(), int(row["remote_port"]), version)
    held = f", {row['process'].decode('utf-8', 'replace')} {row['pid']}" if row["pid"] >= 0 else ""
    return f"{local} - {remote} ({SOCKET_STATES[row['state']]}{held}, socket {cookie_text(int(row['cookie']))})"


def _mask(kept: list[bool]) -> Any:
    import numpy as np

    return np.array(kept, np.bool_)

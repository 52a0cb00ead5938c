"""The command ``tcpsight``: finds the command, reports errors in one line each.

Exit status: 0 fine, 1 a finding the user asked to fail on, 2 wrong usage or unreadable input, 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

import click

import tcpsight
from tcpsight.cli.letters import spell_out
from tcpsight.errors import TcpsightError

COMMANDS = {
    "report": "What is wrong and how it performs, in one page.",
    "requests": "Every request with its response time.",
    "intervals": "Throughput, concurrency and response times over time.",
    "connections": "Every connection: set-up, bytes, retransmissions, end.",
    "findings": "Conditions that have a name: stalls, blackholes, bufferbloat, full queues, refused connections.",
    "network": "What the network did to each: round trips, retransmissions by cause, windows.",
    "split": "Two captures of the same traffic: client, path each way, server; where losses were.",
    "compare": "What changed between two captures of the same services, and whether it got worse.",
    "buckets": "Connections by duration, bytes or throughput, with drill-down.",
    "segments": "Every TCP segment with stream offsets and its kind.",
    "streams": "What both sides said: browse, follow, search, pipe and export conversations.",
    "follow": "What both sides of one connection said, as text, hex, JSON, YAML or the bytes themselves.",
    "usl": "How throughput follows concurrency: contention, peak, headroom.",
    "watch": "How services do while it happens: a line per second, or JSON.",
    "serve": "The same as watch on a page for browsers.",
    "sql": "A question in SQL over the same tables.",
    "ingest": "Keep what captures tell in a lake: a folder of Parquet files that other commands read.",
    "capture": "Record the headers of live frames, and nothing else.",
    "sockets": "Connections of this machine as its kernel sees them, with their processes.",
    "kill": "End chosen connections, of this machine or seen on the wire, and only those.",
    "anonymize": "A capture that may be given away: mapped addresses, no payload, the same analysis.",
    "ipc": "What TCP loopback costs here against Unix sockets, pipes and shared memory.",
    "compat": "The older tools by their own command lines.",
    "help": "Of a command, of how something is written, or of a column.",
}

COMPLETING = "_TCPSIGHT_COMPLETE"
"""Set by a shell that asks what Tab completes."""

_OUTPUT_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""A full disk and its like."""

HELP = """How any TCP service performs, from packet headers alone.

\b
Try:  tcpsight report capture.pcap
      tcpsight requests capture.pcap --server :3306 --format csv -o requests.csv
      tcpdump -s 128 -w - tcp port 5432 | tcpsight report -
"""


class Commands(click.Group):
    """Commands whose modules are imported when they are run, so that each pays only for what it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"tcpsight.cli.{cmd_name}").command
        if COMPLETING in os.environ:
            import_module("tcpsight.cli.completion").prepare(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}"
            raise click.UsageError(f"no such command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=Commands, help=HELP, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True
)
@click.version_option(tcpsight.__version__, prog_name="tcpsight")
@click.pass_context
def tcpsight_command(context: click.Context) -> None:
    """Hold the commands; alone, say what most people want."""
    if context.invoked_subcommand is None:
        from tcpsight.cli.topics import FIRST

        click.echo(FIRST, nl=False)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; give the exit status.

    Parameters
    ----------
    arguments : list of str, optional
        Without the program's name; by default those of the process.
    """
    # Threads of a linear algebra library that nothing here uses cost more than the import itself.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow's own pools keep what was given back: 10 MB more, and no faster where blocks are small.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        status = _invoke(arguments)
        sys.stdout.flush()
        return status
    except click.UsageError as error:
        from tcpsight.cli.mistakes import said_of

        return _fail(said_of(error, arguments))
    except (click.ClickException, TcpsightError) as error:
        return _fail(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except BrokenPipeError:
        _drop_output()  # whoever read it has seen enough
        return 0
    except OSError as error:
        # Only writing to standard output leaves a bare number; all else that can fail tells what it was about.
        if error.errno not in _OUTPUT_FAILURES or error.filename is not None:
            raise
        _drop_output()
        return _fail(f"standard output: {error.strerror}")
    except (KeyboardInterrupt, click.Abort):
        print("tcpsight: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        return _fail(f"out of memory: {error}" if str(error) else "out of memory")


def _drop_output() -> None:
    """Keep the interpreter from trying to flush what is left when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _invoke(arguments: list[str]) -> int:
    if COMPLETING in os.environ:
        tcpsight_command.main(arguments, prog_name="tcpsight")
    try:
        # Not by click's own main, which ends a closed pipe with status 1.
        with tcpsight_command.make_context("tcpsight", list(arguments)) as context:
            status = tcpsight_command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    from tcpsight.output.units import printable

    with suppress(OSError):  # the terminal has gone
        print(f"tcpsight: {printable(line)}", file=sys.stderr)
    return 2


def _terminated(signal_number: int, frame: object) -> None:
    # An exception, so that temporary files are removed on the way out; 128 + 15 as shells say it.
    raise SystemExit(128 + signal_number)


def _fill_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed, or the next file that is opened would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            mode = os.O_RDONLY if number == 0 else os.O_WRONLY
            setattr(sys, name, os.fdopen(os.open(os.devnull, mode), "w" if number else "r", encoding="utf-8"))


def run() -> None:
    """Entry point of the console script."""
    _fill_standard_streams()
    spell_out()
    signal.signal(signal.SIGTERM, _terminated)
    # Modules and batches leave no cycles behind; looking for some every 700 objects costs two percent of a run.
    gc.set_threshold(100_000)
    try:
        status = main()
    except KeyboardInterrupt:  # again, while the first was being answered
        print("tcpsight: interrupted", file=sys.stderr)
        status = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done: another Ctrl-C would show Python's insides
    if status == 130:
        # Python would end itself by the signal if it thinks that an interrupt was left unanswered.
        sys.stderr.flush()
        os._exit(status)
    if "duckdb" not in sys.modules:  # which complains of every object that is left
        gc.freeze()  # or Python looks through everything once more before it ends
    sys.exit(status)


if __name__ == "__main__":
    run()

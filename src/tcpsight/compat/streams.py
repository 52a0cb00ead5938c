"""streams: what each side of each connection sent, at a prompt or from standard input.

Commands are those of the old tool, and so is what they print, to the byte, where standard output is a file or a pipe.
On a terminal, control characters that came from payload, or from a program that was given some, are shown as escapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tcpsight.analysis import Analysis
from tcpsight.compat.streams_arguments import address_text, from_hex, number
from tcpsight.compat.streams_prompt import lines_of
from tcpsight.compat.streams_sessions import Session, Sessions
from tcpsight.errors import CaptureError, TcpsightError
from tcpsight.streams import PayloadStore, Stream

if TYPE_CHECKING:
    from tcpsight.compat.streams_prompt import Console

DEFAULT_FILTER = "tcp"
DEFAULT_TIMEOUT_S = 30
ZEROS = bytes(1 << 16)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FILTER_STATES = {True: "on (exclude empty and incomplete streams)", False: "off (list all streams)"}
SELECT_FIRST = "select a packet source first\n"
NO_SUCH_STREAM = "no such stream\n"
UNKNOWN_COMMAND = "Command not implemented. Type 'help' for a list of supported commands.\n"

COMMANDS = {
    "analyze": "analyze\tanalyze trace file",
    "bpf": "bpf\t\tspecify a berkeley packet filter expression",
    "count": "count\t\tdisplay number of streams",
    "dump": "dump\t\tdump selected stream to a file (see outfile)",
    "ext": "ext\t\tspecify external program (+ arguments) to pipe streams through (see pipe)",
    "filter": "filter\ttoggle stream filter status (include/exclude empty and incomplete streams)",
    "help": "help\t\tshow help (this output)",
    "list": "list\t\tlist streams",
    "match": "match\t\tspecify a content pattern, use 'x [pattern]' for patterns in hexadecimal encoding",
    "offset": "offset\tset datalink layer offset for packet trace file",
    "outfile": "outfile\tspecify an output file for stream dumps (see dump)",
    "pipe": "pipe\t\tpipe selected stream through an external program (see ext)",
    "ports": "ports\t\tprint basic stream destination port statistics",
    "quit": "quit\t\tquit program",
    "status": "status\tdisplay program status",
    "timestamps": "timestamps\ttoggle time display format (absolute/relative)",
    "timeout": "timeout\tset tcp session timeout (needed to detect port reuse)",
}
"""Names and help in the old tool's order: the first one that begins like what was typed is meant."""

METHODS = {"offset": "_set_offset", "outfile": "_set_outfile", "timeout": "_set_timeout", "filter": "_set_filter"}


def run(name: str, arguments: list[str]) -> int:
    """Run the prompt until ``quit`` or the end of input; give the exit status.

    Parameters
    ----------
    name : str
        What the user called it by.
    arguments : list of str
        A capture file, or nothing.
    """
    from tcpsight.compat.streams_prompt import Console

    shell = Shell(Console(list(COMMANDS)))
    try:
        if arguments:
            shell.open(arguments[0])
        for line in lines_of(shell.console):
            if not shell.obey(line):
                break
    finally:
        shell.close()
    return 0


class Shell:
    """What the commands have set, and the streams of the file that was analysed last.

    Parameters
    ----------
    console : Console
        Where it prints.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._say = console.say
        self._path: str | None = None
        self._has_source = False
        self._sessions = Sessions(0)
        self._store: PayloadStore | None = None
        self._first_us: int | None = None
        self._expression = DEFAULT_FILTER
        self._pattern: bytes | None = None
        self._hides = True
        self._is_relative = True
        self._timeout_s = DEFAULT_TIMEOUT_S
        self._offset = 0
        self._program = ""
        self._outfile = ""

    def obey(self, line: str) -> bool:
        """Do what a line says; tell whether to go on."""
        words = line.strip(" \t")
        if not words:
            self._say("\r")
            return True
        command, blank, rest = words.partition(" ")
        meant = next((each for each in COMMANDS if each.startswith(command)), None)
        if meant is None:
            self._say(UNKNOWN_COMMAND)
            return True
        do: Callable[[str | None], bool | None] = getattr(self, METHODS.get(meant, f"_{meant}"))
        try:
            return do(rest if blank else None) is not False
        except BrokenPipeError:
            raise
        except (TcpsightError, OSError) as error:
            self._say(f"{error}\n")
        except KeyboardInterrupt:
            self._say("\n")
        return True

    def close(self) -> None:
        """Give back what the last analysis holds."""
        if self._store is not None:
            self._store.close()
        self._store = None

    # ------------------------------------------------------------------------------------ reading captures

    def open(self, path: str) -> None:
        """Analyse a capture file."""
        self._path, self._first_us, self._has_source = path, None, False
        self._read()

    def _analyze(self, rest: str | None) -> None:
        words = (rest or "").split(" ")
        names = [word for word in words if word]
        if not names:
            self._say("need an argument.\n")
            return
        whole = (rest or "").strip(" ")
        self.open(whole if _exists(whole) else names[0])

    def _read(self) -> None:
        """Read the capture once more, with what is set now."""
        assert self._path is not None
        self.close()
        self._sessions = Sessions(self._timeout_s * 10**6)
        expression = None if self._expression == DEFAULT_FILTER else self._expression
        store = PayloadStore([self._path])
        try:
            with Analysis([self._path], frame_filter=expression, link_offset=self._offset).run(
                keep=store.keep
            ) as reading:
                store.note_files(reading.capture.files)
                self._store, self._has_source = store, True
                for batch in reading:
                    self._sessions.feed(batch)
                if reading.pipeline.broken is not None:
                    self._say(f"pcap_loop(): {reading.pipeline.broken}\n")
        except CaptureError as error:
            reason = error.reason.removeprefix("cannot be opened: ")
            self._say(f"could not open trace file: {error.path}: {reason}\n")
            return
        except TcpsightError as error:
            self._has_source = True  # the file is there; only the expression is wrong
            self._say(f"pcap_compile(): {str(error).partition(': ')[2] or error}\n")
            return
        self._first_us = self._sessions.first_us if self._first_us is None else self._first_us
        self._match_all()
        self._say(f"file processed, {self._counts()}.\n")

    def _match_all(self) -> None:
        for session in self._sessions.all:
            session.is_matched = self._pattern is None or self._holds_pattern(session)

    def _holds_pattern(self, session: Session) -> bool:
        assert self._pattern is not None
        return not self._pattern or next(self._stream(session).find(self._pattern), None) is not None

    def _stream(self, session: Session) -> Stream:
        assert self._store is not None
        return session.stream(self._store.read)

    def _bpf(self, rest: str | None) -> None:
        self._expression = rest or DEFAULT_FILTER
        if self._has_source:
            self._read()
            self._say("applying new filter...\n")

    def _set_offset(self, rest: str | None) -> None:
        if rest is None:
            self._say("offset: need an argument\n")
            return
        self._offset = number(rest)
        if self._has_source:
            self._read()
            self._say("applying new offset...\n")

    def _set_timeout(self, rest: str | None) -> None:
        if rest is None:
            self._say("timeout: need an argument\n")
            return
        self._timeout_s = number(rest)
        self._say(f"new tcp session timeout: {self._timeout_s} seconds\n")

    # -------------------------------------------------------------------------------------- telling of them

    def _counts(self) -> str:
        return f"{len(self._sessions.all)} streams ({self._sessions.complete} non-empty and complete)"

    def _count(self, rest: str | None) -> None:
        self._say(f"number of streams: {len(self._sessions.all)} ({self._sessions.complete} non-empty and complete)\n")

    def _list(self, rest: str | None) -> None:
        if not self._has_source:
            self._say(SELECT_FIRST)
            return
        chosen = self._sessions.all
        if rest is not None:
            session = self._chosen(rest)
            chosen = [] if session is None else [session]
        for session in chosen:
            if session.is_matched and (rest is not None or session.is_complete or not self._hides):
                self._say(self._line(session))

    def _chosen(self, rest: str) -> Session | None:
        chosen = number(rest)
        if chosen >= len(self._sessions.all):
            self._say(NO_SUCH_STREAM)
            return None
        return self._sessions.all[chosen]

    def _line(self, session: Session) -> str:
        source, destination = (
            f"{address_text(session.key[at : at + 16])}:{port}" for at, port in zip((0, 16), session.ports, strict=True)
        )
        mark = "" if session.is_complete else " [empty/incomplete]"
        times = "  ".join(self._time(time_us) for time_us in (session.start_us, session.end_us))
        return f"{session.number:5d}:  {times}  {source} > {destination} ({session.length} bytes){mark}\n"

    def _time(self, time_us: int) -> str:
        if self._is_relative:
            seconds, micros = divmod(time_us - (self._first_us or 0), 10**6)
            return f"{seconds:6d}.{micros:06d}"
        return (EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S.%f")

    def _set_filter(self, rest: str | None) -> None:
        self._hides = not self._hides
        self._say(f"stream filter: {FILTER_STATES[self._hides]}\n")

    def _timestamps(self, rest: str | None) -> None:
        self._is_relative = not self._is_relative
        self._say(f"timestamps: {'relative' if self._is_relative else 'absolute'}\n")

    def _ports(self, rest: str | None) -> None:
        if not self._has_source:
            self._say(SELECT_FIRST)
            return
        counts = Counter(session.ports[1] for session in self._sessions.all)
        for port, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
            self._say(f"{port:6d}: {count}\n")

    def _status(self, rest: str | None) -> None:
        from tcpsight.compat.streams_prompt import pattern_text

        pattern = "[none]\n" if self._pattern is None else pattern_text(self._pattern)
        mode = "relative" if self._is_relative else "absolute"
        self._say(
            f"\n  trace file:\t\t{self._path or '[none]'}\n  bpf expression:\t{self._expression}\n"
            f"  match expression:\t{pattern}  stream filter:\t{FILTER_STATES[self._hides]}\n"
            f"  time display mode:\t{mode}\n  tcp seession timeout:\t{self._timeout_s} seconds\n"
            f"  external program:\t{self._program or '[none]'}\n  output file:\t\t{self._outfile or '[none]'}\n\n"
        )

    def _help(self, rest: str | None) -> None:
        self._say("\n" + "".join(f"  {text}\n" for text in COMMANDS.values()) + "\n")

    def _quit(self, rest: str | None) -> bool:
        return False

    # ------------------------------------------------------------------------------------------ their bytes

    def _match(self, rest: str | None) -> None:
        words = [word for word in (rest or "").split(" ") if word]
        self._pattern = None
        if not words:
            for session in self._sessions.all:
                session.is_matched = True
            self._say("match expression removed\n")
            return
        if len(words) == 1:
            self._pattern = (rest or "").encode("utf-8", "surrogateescape")
        elif words[0] != "x":
            self._say("invalid arguments")
            return
        else:
            self._pattern = from_hex(words[1])
            if self._pattern is None:
                self._say("pattern is not a valid hex string\n")
                return
        if self._has_source:
            self._say("applying new match expression...\n")
            self._match_all()

    def _ext(self, rest: str | None) -> None:
        if rest is None:
            self._say("no program specified.\n")
        else:
            self._program = rest

    def _set_outfile(self, rest: str | None) -> None:
        if rest is None:
            self._say("outfile: need an argument\n")
        else:
            self._outfile = rest

    def _dump(self, rest: str | None) -> None:
        if not self._outfile:
            self._say("no output file specified\n")
            return
        session = self._selected(rest, "dump: need an argument\n")
        if session is None:
            return
        from tcpsight.output.destination import Destination

        destination = Destination(self._outfile)
        try:
            for data in self._bytes(session):
                destination.write(data)
            destination.close()
        except BaseException:
            destination.abort()
            raise

    def _pipe(self, rest: str | None) -> None:
        if not self._program:
            self._say("no external program specified\n")
            return
        session = self._selected(rest, "pipe: need a stream number.\n")
        if session is None:
            return
        from tcpsight.conversations.programs import run_program

        words = [word for word in self._program.split(" ") if word]
        try:
            ended = run_program(words, self._bytes(session), self.console.show)
        except (OSError, ValueError) as error:
            self._say(f"execvp(): {getattr(error, 'strerror', None) or error}\n")
            return
        if ended.why:
            self.console.note(f"{words[0]} was ended: it {ended.why}")

    def _selected(self, rest: str | None, otherwise: str) -> Session | None:
        """Find the stream that a command is to work on, or say why there is none."""
        if not self._has_source:
            self._say(SELECT_FIRST)
            return None
        if rest is None:
            self._say(otherwise)
            return None
        return self._chosen(rest)

    def _bytes(self, session: Session) -> Iterator[bytes]:
        """Give a stream's bytes as the old tool did, at their places; say first how many there are none of."""
        stream = self._stream(session)
        if stream.missing_bytes:
            cut = f" ({stream.cut_bytes} of them because frames were cut short)" if stream.cut_bytes else ""
            self.console.note(
                f"stream {session.number}: {stream.missing_bytes} of {len(stream)} bytes were not captured{cut}; "
                "zeros stand in their places"
            )
        for block in stream.blocks():
            if block.data:
                yield block.data
            for at in range(0, block.missing_bytes, len(ZEROS)):
                yield ZEROS[: block.missing_bytes - at]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False

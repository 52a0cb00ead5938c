"""The commands of ``tcpsight streams``, each a method: they ask the catalog, and print what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.cli.streams_files import Targets
from tcpsight.cli.streams_words import leading_options, options_of, parted, whole, without_limit, words_of
from tcpsight.conversations.patterns import pattern_from, unquoted
from tcpsight.conversations.telling import dialogue_of, ends_of, side_of, unsearched
from tcpsight.errors import UsageError
from tcpsight.output import units
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.dialogues import FORMATS, Dialogue, reasons, sums, written
from tcpsight.tables import DIRECTIONS, STATES, Connections

if TYPE_CHECKING:
    from tcpsight.cli.streams_console import Console
    from tcpsight.conversations.catalog import Catalog
    from tcpsight.conversations.patterns import Found
    from tcpsight.streams import Conversation, Stream
    from tcpsight.tables import Table

COMMANDS = {
    "list": ("list [CONDITION] [--sort COLUMN] [--limit N] [--format F]", "connections that are shown, or that are so"),
    "filter": ("filter CONDITION | bpf EXPRESSION | off", "show only connections that are so, or have such frames"),
    "match": ("match [text|hex|regex] PATTERN | off", "show only connections whose payload holds it, as it is written"),
    "find": ("find [text|hex|regex] PATTERN [--limit N]", "where payload of the connections that are shown holds it"),
    "show": ("show N [--absolute] [--format text|graph|svg]", "a connection's ladder, every segment, or a flow graph"),
    "follow": ("follow N [--request I] [--format text|hex|raw|json|yaml] [--side S]", "what was said, in order"),
    "requests": ("requests N [--sort COLUMN] [--limit N] [--format F]", "requests of a connection, and their times"),
    "dump": ("dump FOLDER [N…] [--overwrite] [--zeros]", "stream bytes to files, of these or of all that are shown"),
    "pipe": ("pipe N [--side S] [--raw] PROGRAM…", "stream bytes through a program, and what it says"),
    "export": ("export FILE [N…] [--overwrite]", "the frames of these, or of all that are shown, as pcapng"),
    "stats": ("stats", "sums over the connections that are shown"),
    "help": ("help [COMMAND]", "this"),
    "quit": ("quit", "the end"),
}  # fmt: skip
"""Each command's usage, and what it does; an unambiguous beginning of a name will do."""

ROW_FORMATS = ("table", "csv", "jsonl")

LISTED = (
    "connection_id start_ns duration_ns client_address client_port server_address server_port state requests "
    "client_bytes server_bytes client_gap_bytes server_gap_bytes"
)

REQUESTED = "request_index arrival_ns response_time_ns request_bytes response_bytes request_first_ns response_last_ns"

ROW_OPTIONS = {"--format": ROW_FORMATS, "--sort": None, "--limit": None}

MOST_FOUND = 100
MOST_CONFLICTS = 20
AROUND_BYTES = 24


class Shell:
    """Obeys commands.

    Parameters
    ----------
    catalog : Catalog
        The conversations.
    console : Console
        Where it prints.
    targets : Targets, optional
        Which files it may write.

    Attributes
    ----------
    has_failed : bool
        Whether a program that was given a stream has failed, or had to be ended.
    """

    def __init__(self, catalog: Catalog, console: Console, targets: Targets | None = None) -> None:
        self.has_failed = False
        self._catalog = catalog
        self._console = console
        self._targets = targets or Targets()
        self._print = console.print

    def obey(self, line: str) -> bool:
        """Do what a command says; tell whether to go on.

        Raises
        ------
        TcpsightError
            It cannot be done.
        """
        name, _, rest = line.strip().partition(" ")
        meant = command_named(name)
        if meant == "quit":
            return False
        do: Callable[[str], None] = getattr(self, f"_{meant}")
        do(rest.strip())
        self._console.flush()
        return True

    def complete(self, line: str) -> list[str]:
        """Give what the last word of a line may become; see `tcpsight.cli.streams_completion`."""
        from tcpsight.cli.streams_completion import completions_of

        return completions_of(line, COMMANDS, self._catalog)

    # ----------------------------------------------------------------------------------------------- choosing

    def _list(self, rest: str) -> None:
        text, options = parted(rest, ROW_OPTIONS)
        shown = self._catalog.shown
        if text:
            shown = shown[self._catalog.meeting(text, "list")[self._catalog.is_shown]]
        given = self._rows(shown, LISTED.split(), options)
        hidden = len(self._catalog.all) - given
        if hidden and options.get("--format", "table") == "table":
            self._print(f"{units.counted(given, 'connection')}; {units.count(hidden)} more are not shown")

    def _rows(self, rows: Table, listed: Sequence[str], options: dict[str, str]) -> int:
        """Write rows as options ask for them; give how many."""
        from tcpsight.cli.running import in_order
        from tcpsight.output.text import TextLayout
        from tcpsight.output.writers import open_writer

        layout = TextLayout(has_unicode=self._console.has_unicode)
        left = whole(options["--limit"]) if "--limit" in options else len(rows)
        format = options.get("--format", "table")
        columns = listed if format == "table" else None
        zone = self._console.timezone
        self._console.flush()
        to = self._console.binary
        with open_writer(to, type(rows), format, columns=columns, timezone=zone, layout=layout) as writer:
            for table in in_order(iter([rows]), type(rows), options.get("--sort")):
                writer.write(table[:left])
                left = max(left - len(table), 0)
            return writer.rows

    def _filter(self, rest: str) -> None:
        if rest == "off":
            self._catalog.choose(None)
            self._catalog.choose_frames(None)
        elif rest.startswith("bpf "):
            self._catalog.choose_frames(unquoted(rest[4:].strip()))
        elif rest:
            self._catalog.choose(unquoted(rest))
        self._say_shown()

    def _match(self, rest: str) -> None:
        if rest:
            self._catalog.match(None if rest == "off" else pattern_from(rest))
        self._say_shown()
        self._note_unsearched(self._catalog.pattern is not None)

    def _say_shown(self) -> None:
        catalog = self._catalog
        said = [("filter", catalog.condition), ("bpf", catalog.expression), ("match", catalog.pattern)]
        why = "; ".join(f"{name} {text}" for name, text in said if text is not None)
        shown = f"{units.count(len(catalog.shown))} of {units.counted(len(catalog.all), 'connection')} shown"
        self._print(f"{shown}: {why}" if why else shown)

    def _find(self, rest: str) -> None:
        text, limit = without_limit(rest)
        pattern, most = pattern_from(text), whole(limit or str(MOST_FOUND))
        count = 0
        for conversation in self._shown():
            for side in DIRECTIONS:
                stream = getattr(conversation, side)
                for found in pattern.find(stream):
                    if count == most:
                        self._print(f"more than {units.count(most)}: --limit N shows others")
                        return
                    count += 1
                    self._print_found(conversation, stream, found)
        if not count:
            self._print("nowhere")
        self._note_unsearched(not count)

    def _note_unsearched(self, is_wanted: bool) -> None:
        missing = unsearched(self._catalog) if is_wanted else ""
        if missing:
            self._console.note(missing)

    def _print_found(self, conversation: Conversation, stream: Stream, found: Found) -> None:
        frame, time_ns = stream.captured_at(found.offset)
        after = (time_ns - int(conversation.connection["start_ns"])) / 1e9
        start = max(found.offset - AROUND_BYTES, stream.start)
        data = stream.read(start, found.offset - start + min(found.length, 256) + AROUND_BYTES)
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
        where = f"{conversation.connection_id} {stream.direction} {found.offset}"
        self._print(f"{where}  frame {frame}, {after:.6f} s  {text}")

    def _shown(self) -> Iterator[Conversation]:
        for number in self._catalog.shown.connection_id.tolist():
            yield self._catalog[number]

    # ---------------------------------------------------------------------------------------- one connection

    def _show(self, rest: str) -> None:
        from tcpsight.output.ladders import flow_lines, flow_svg, ladder_lines

        words, options = options_of(words_of(rest), {"--format": ("text", "graph", "svg"), "--absolute": ()})
        conversation = self._only(words, "show")
        client, server = ends_of(conversation)
        with closing(self._catalog.rungs(conversation.connection_id, is_relative="--absolute" not in options)) as found:
            format = options.get("--format", "text")
            if format == "svg":
                self._console.write_all(piece.encode() for piece in flow_svg(found, client, server))
                return
            self._print(f"connection {conversation.connection_id}: client {client}, server {server}")
            for line in ladder_lines(found) if format == "text" else flow_lines(found, client, server):
                self._print(line)

    def _follow(self, rest: str) -> None:
        words, options = options_of(words_of(rest), {"--format": FORMATS, "--side": DIRECTIONS, "--request": None})
        conversation = self._only(words, "follow")
        span = self._span(conversation, options["--request"]) if "--request" in options else None
        format = options.get("--format", "text")
        if format == "raw":
            self._console.refuse_terminal("raw bytes are nothing to show on a terminal: -o FILE, or --format text")
            self._note_missing(conversation)
        dialogue = dialogue_of(conversation, options.get("--side"), span)
        said = written(dialogue, format, has_colour=self._console.has_colour)
        if format not in ("text", "hex"):
            self._console.write_all(said)
        else:
            self._console.show_all(said)
            self._tell_conflicts(dialogue)

    def _span(self, conversation: Conversation, index: str) -> tuple[int, int]:
        """Tell from when to when a request and its answer were said."""
        number, requests = whole(index), self._catalog.requests(conversation.connection_id)
        for row in requests.rows[requests.request_index == number]:
            return int(row["request_first_ns"]), int(row["response_last_ns"])
        there = f"0 to {requests.request_index.max()}" if len(requests) else "none"
        raise UsageError(f"connection {conversation.connection_id} has no answered request {number}; there are {there}")

    def _note_missing(self, conversation: Conversation) -> None:
        for name in DIRECTIONS:
            side = side_of(conversation, name)
            if side.missing_bytes:
                self._console.note(f"connection {conversation.connection_id}: the {name} sent {sums(side)}")

    def _tell_conflicts(self, dialogue: Dialogue) -> None:
        for told, each in enumerate(dialogue.differences):
            if told == MOST_CONFLICTS:
                self._print("… and more: --format json tells all")
                return
            kept, other = each.kept[:32].hex(), each.other[:32].hex()
            where = f"{each.direction} offset {each.offset}, {units.counted(len(each.kept), 'byte')}"
            self._print(f"! {where}: {kept} above, but {other} in frame {each.frame_number}")

    def _requests(self, rest: str) -> None:
        words, options = options_of(words_of(rest), ROW_OPTIONS)
        self._rows(self._catalog.requests(self._only(words, "requests").connection_id), REQUESTED.split(), options)

    def _only(self, words: list[str], command: str) -> Conversation:
        if len(words) != 1:
            raise UsageError(f"name one connection: {COMMANDS[command][0]}")
        return self._catalog[whole(words[0])]

    # -------------------------------------------------------------------------------------------- elsewhere

    def _dump(self, rest: str) -> None:
        from tcpsight.conversations.dumping import Folder

        words, options = options_of(words_of(rest), {"--overwrite": (), "--zeros": ()})
        if not words:
            raise UsageError(f"name a folder: {COMMANDS['dump'][0]}")
        chosen = self._chosen(words[1:])
        kept = self._targets.sources
        folder = Folder(words[0], overwrites="--overwrite" in options, zeros="--zeros" in options, kept=kept)
        with closing(folder):
            self._catalog.dump(np.array(chosen, np.int64), folder)
        told = folder.dumped
        missing = f"; {units.counted(told.missing_bytes, 'byte')} not captured" if told.missing_bytes else ""
        self._print(f"{units.counted(told.files, 'file')}, {units.counted(told.bytes, 'byte')} in {words[0]}{missing}")
        different = self._differing(chosen)
        if different:
            self._console.note(f"{different}: the files have what 'follow' shows (--overlaps)")

    def _differing(self, numbers: list[int]) -> str:
        from tcpsight.conversations.differing import differing

        found = differing(self._catalog.streams, numbers)
        if not found.places:
            return ""
        of = f"{units.counted(found.bytes, 'byte')} of {units.counted(found.connections, 'connection')}"
        return f"{of} captured more than once with different content"

    def _pipe(self, rest: str) -> None:
        from tcpsight.conversations.programs import run_program

        words, options = leading_options(words_of(rest), 1, {"--side": DIRECTIONS, "--raw": ()})
        if len(words) < 2:
            raise UsageError(f"name a connection and a program: {COMMANDS['pipe'][0]}")
        is_raw = "--raw" in options
        if is_raw:
            self._console.refuse_terminal("--raw is nothing to show on a terminal: -o FILE, or leave it out")
        conversation = self._only(words[:1], "pipe")
        self._note_missing(conversation)
        blocks = dialogue_of(conversation, options.get("--side")).blocks
        self._console.flush()
        with self._console.saying(is_raw=is_raw) as show:
            try:
                ended = run_program(words[1:], (block.data for block in blocks), show)
            except (OSError, ValueError) as error:
                raise UsageError(f"{words[1]}: {getattr(error, 'strerror', None) or error}") from None
        if str(ended):
            self._console.note(f"{words[1]} {ended}")
        self.has_failed |= ended.has_failed

    def _export(self, rest: str) -> None:
        words, options = options_of(words_of(rest), {"--overwrite": ()})
        if not words:
            raise UsageError(f"name a file: {COMMANDS['export'][0]}")
        chosen = self._chosen(words[1:])
        self._targets.check(words[0], overwrites="--overwrite" in options)
        frames = self._catalog.export(np.array(chosen, np.int64), words[0])
        self._print(f"{units.counted(frames, 'frame')} of {units.counted(len(chosen), 'connection')} in {words[0]}")

    def _chosen(self, words: list[str]) -> list[int]:
        if not words:
            return [int(number) for number in self._catalog.shown.connection_id.tolist()]
        return [self._catalog[whole(word)].connection_id for word in words]

    def _stats(self, rest: str) -> None:
        if rest:
            raise UsageError("stats is about all that is shown: 'filter' chooses")
        shown = self._catalog.shown
        self._say_shown()
        for state in sorted(set(shown.state.tolist())):
            name = STATES[state] if state < len(STATES) else "unknown"
            self._print(f"  {name.replace('_', ' '):<13} {units.count(int((shown.state == state).sum()))}")
        for side in DIRECTIONS:
            sent = int(shown.rows[f"{side}_bytes"].clip(0).sum())
            gaps = int(shown.rows[f"{side}_gap_bytes"].clip(0).sum())
            missing = f", {units.count(gaps)} not captured" if gaps else ""
            self._print(f"{side}s sent {units.counted(sent, 'byte')}{missing}")
        lacking = self._catalog.streams.lacking
        if any(lacking):
            size = units.counted(sum(lacking), "byte")
            self._print(f"in all frames {size} of payload not captured: {reasons(lacking)}")
        different = self._differing(shown.connection_id.tolist())
        if different:
            self._print(different)
        self._services(shown)

    def _services(self, shown: Connections) -> None:
        columns = (shown.server_address, shown.server_port, shown.ip_version)
        rows = zip(*columns, strict=True)
        keys = ((address.tobytes(), int(port), int(version)) for address, port, version in rows)
        for key, count in Counter(keys).most_common(20):
            self._print(f"  {endpoint_text(*key):<24} {units.counted(count, 'connection')}")

    def _help(self, rest: str) -> None:
        for usage, meaning in [COMMANDS[command_named(rest)]] if rest else COMMANDS.values():
            self._print(usage)
            self._print(f"      {meaning}")


def command_named(name: str) -> str:
    """Give the command that a name, or the beginning of one, means."""
    meant = [each for each in COMMANDS if each == name] or [each for each in COMMANDS if each.startswith(name)]
    if len(meant) != 1:
        near = meant or get_close_matches(name, COMMANDS, 2)
        hint = f"did you mean {' or '.join(near)}?" if near else "'help' tells which there are"
        raise UsageError(f"no command {name!r}; {hint}")
    return meant[0]

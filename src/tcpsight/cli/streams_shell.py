"""The commands of ``tcpsight streams``, each a method: they ask the catalog, and print what it says."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.cli.streams_words import one_of, options_of, parted, pattern_of, unquoted, whole, words_of
from tcpsight.conversations.telling import dialogue_of, ends_of, side_of
from tcpsight.errors import UsageError
from tcpsight.facts import endpoint_text
from tcpsight.output import units
from tcpsight.output.dialogues import FORMATS, sums, written
from tcpsight.tables import DIRECTIONS, STATES, Connections, Requests

if TYPE_CHECKING:
    from tcpsight.cli.streams_console import Console
    from tcpsight.conversations.catalog import Catalog
    from tcpsight.streams import Conversation
    from tcpsight.tables import Table

COMMANDS = {
    "list": ("list [CONDITION] [--format F]", "connections that are shown, or those of them that are so"),
    "filter": ("filter CONDITION | bpf EXPRESSION | off", "show only connections that are so, or have such frames"),
    "match": ("match [text|hex|regex] PATTERN | off", "show only connections whose payload holds it"),
    "find": ("find [text|hex|regex] PATTERN [--limit N]", "where payload of the connections that are shown holds it"),
    "show": ("show N [--absolute] [--format text|graph|svg]", "a connection's ladder, every segment, or a flow graph"),
    "follow": ("follow N [--format text|hex|raw|json|yaml] [--side S]", "what both sides said; S is client or server"),
    "requests": ("requests N [--format F]", "the requests of a connection, with their times"),
    "dump": ("dump FOLDER [N…] [--overwrite] [--zeros]", "stream bytes to files, of these or of all that are shown"),
    "pipe": ("pipe N PROGRAM… [--side S before PROGRAM]", "stream bytes through a program, and what it says"),
    "export": ("export FILE [N…]", "the frames of these, or of all that are shown, as pcapng"),
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
    """

    def __init__(self, catalog: Catalog, console: Console) -> None:
        self._catalog = catalog
        self._console = console
        self._print = console.print

    def obey(self, line: str) -> bool:
        """Do what a command says; tell whether to go on.

        Raises
        ------
        TcpsightError
            It cannot be done.
        """
        name, _, rest = line.strip().partition(" ")
        meant = [each for each in COMMANDS if each == name] or [each for each in COMMANDS if each.startswith(name)]
        if len(meant) != 1:
            near = meant or get_close_matches(name, COMMANDS, 2)
            hint = f"did you mean {' or '.join(near)}?" if near else "'help' tells which there are"
            raise UsageError(f"no command {name!r}; {hint}")
        if meant[0] == "quit":
            return False
        do: Callable[[str], None] = getattr(self, f"_{meant[0]}")
        do(rest.strip())
        self._console.flush()
        return True

    def complete(self, line: str) -> list[str]:
        """Give what the last word of a line may become: commands, then numbers of connections."""
        words = line.split(" ")
        if len(words) == 1:
            return [name for name in COMMANDS if name.startswith(words[0])]
        last = words[-1]
        if words[0] == "help":
            return [name for name in COMMANDS if name.startswith(last)]
        if last.startswith("-"):
            found = shlex.split(COMMANDS.get(words[0], ("", ""))[0].replace("[", " ").replace("]", " "))
            return [word for word in found if word.startswith("--") and word.startswith(last)]
        numbers = (str(number) for number in self._catalog.shown.connection_id[:10_000].tolist())
        return [number for number in numbers if number.startswith(last)][:100]

    # ----------------------------------------------------------------------------------------------- choosing

    def _list(self, rest: str) -> None:
        text, options = parted(rest, {"--format": ROW_FORMATS})
        shown = self._catalog.shown
        if text:
            from tcpsight.where import Where

            shown = Where(text, Connections).apply(shown)
        format = options.get("--format", "table")
        self._rows(shown, Connections, format, LISTED.split() if format == "table" else None)
        hidden = len(self._catalog.all) - len(shown)
        if hidden and format == "table":
            self._print(f"{units.counted(len(shown), 'connection')}; {units.count(hidden)} more are not shown")

    def _rows(self, rows: Table, table_type: type[Table], format: str, columns: Sequence[str] | None) -> None:
        from tcpsight.output.writers import open_writer

        self._console.flush()
        with open_writer(
            self._console.binary, table_type, format, columns=columns, timezone=self._console.timezone
        ) as writer:
            writer.write(rows)

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
            self._catalog.match(None if rest == "off" else pattern_of(words_of(rest)))
        self._say_shown()

    def _say_shown(self) -> None:
        catalog = self._catalog
        said = [("filter", catalog.condition), ("bpf", catalog.expression), ("match", catalog.pattern)]
        why = "; ".join(f"{name} {text}" for name, text in said if text is not None)
        shown = f"{units.count(len(catalog.shown))} of {units.counted(len(catalog.all), 'connection')} shown"
        self._print(f"{shown}: {why}" if why else shown)

    def _find(self, rest: str) -> None:
        words, options = options_of(words_of(rest), {"--limit": None})
        pattern, most = pattern_of(words), whole(options.get("--limit", str(MOST_FOUND)))
        count = 0
        for conversation in self._shown():
            for side in DIRECTIONS:
                stream = getattr(conversation, side)
                for found in pattern.find(stream):
                    if count == most:
                        self._print(f"more than {units.count(most)}: --limit N shows others")
                        return
                    count += 1
                    start = max(found.offset - AROUND_BYTES, stream.start)
                    data = stream.read(start, found.offset - start + min(found.length, 256) + AROUND_BYTES)
                    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
                    self._print(f"{conversation.connection_id} {side} {found.offset}  {text}")
        if not count:
            self._print("nowhere")

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
        words, options = options_of(words_of(rest), {"--format": FORMATS, "--side": DIRECTIONS})
        conversation = self._only(words, "follow")
        format = options.get("--format", "text")
        if format == "raw":
            self._console.refuse_terminal("raw bytes are nothing to show on a terminal: -o FILE, or --format text")
            self._note_missing(conversation)
        dialogue = dialogue_of(conversation, options.get("--side"))
        self._console.write_all(written(dialogue, format, has_colour=self._console.has_colour))
        if format in ("text", "hex"):
            self._tell_conflicts(conversation)

    def _note_missing(self, conversation: Conversation) -> None:
        for name in DIRECTIONS:
            side = side_of(conversation, name)
            if side.missing_bytes:
                self._console.note(f"connection {conversation.connection_id}: the {name} sent {sums(side)}")

    def _tell_conflicts(self, conversation: Conversation) -> None:
        told = 0
        for side in DIRECTIONS:
            for each in getattr(conversation, side).conflicts():
                told += 1
                if told > MOST_CONFLICTS:
                    self._print("… and more")
                    return
                kept, other = each.kept[:32].hex(), each.other[:32].hex()
                where = f"{side} offset {each.offset}, {units.counted(len(each.kept), 'byte')}"
                self._print(f"! {where}: {kept} above, but {other} in frame {each.frame_number}")

    def _requests(self, rest: str) -> None:
        words, options = options_of(words_of(rest), {"--format": ROW_FORMATS})
        found = self._catalog.requests(self._only(words, "requests").connection_id)
        format = options.get("--format", "table")
        self._rows(found, Requests, format, REQUESTED.split() if format == "table" else None)

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
        folder = Folder(words[0], overwrites="--overwrite" in options, zeros="--zeros" in options)
        with closing(folder):
            self._catalog.dump(np.array(chosen, np.int64), folder)
        told = folder.dumped
        missing = f"; {units.counted(told.missing_bytes, 'byte')} not captured" if told.missing_bytes else ""
        self._print(f"{units.counted(told.files, 'file')}, {units.counted(told.bytes, 'byte')} in {words[0]}{missing}")

    def _pipe(self, rest: str) -> None:
        from tcpsight.conversations.programs import run_program

        words = words_of(rest)
        side = None
        if len(words) > 2 and words[1] == "--side":
            side = one_of(words[2], DIRECTIONS, "--side")
            del words[1:3]
        if len(words) < 2:
            raise UsageError(f"name a connection and a program: {COMMANDS['pipe'][0]}")
        conversation = self._only(words[:1], "pipe")
        self._note_missing(conversation)
        blocks = dialogue_of(conversation, side).blocks
        self._console.flush()
        try:
            ended = run_program(words[1:], (block.data for block in blocks), self._console.show)
        except (OSError, ValueError) as error:
            raise UsageError(f"{words[1]}: {getattr(error, 'strerror', None) or error}") from None
        if ended:
            self._console.note(f"{words[1]} was ended: it {ended}")

    def _export(self, rest: str) -> None:
        words = words_of(rest)
        if not words:
            raise UsageError(f"name a file: {COMMANDS['export'][0]}")
        chosen = self._chosen(words[1:])
        frames = self._catalog.export(np.array(chosen, np.int64), words[0])
        self._print(f"{units.counted(frames, 'frame')} of {units.counted(len(chosen), 'connection')} in {words[0]}")

    def _chosen(self, words: list[str]) -> list[int]:
        if not words:
            return [int(number) for number in self._catalog.shown.connection_id.tolist()]
        return [self._catalog[whole(word)].connection_id for word in words]

    def _stats(self, rest: str) -> None:
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
        cut = self._catalog.streams.cut_bytes
        if cut:
            self._print(f"in all frames {units.counted(cut, 'byte')} of payload cut off at the snapshot length")
        self._services(shown)

    def _services(self, shown: Connections) -> None:
        columns = (shown.server_address, shown.server_port, shown.ip_version)
        rows = zip(*columns, strict=True)
        keys = ((address.tobytes(), int(port), int(version)) for address, port, version in rows)
        for key, count in Counter(keys).most_common(20):
            self._print(f"  {endpoint_text(*key):<24} {units.counted(count, 'connection')}")

    def _help(self, rest: str) -> None:
        for name, (usage, meaning) in COMMANDS.items():
            if not rest or name.startswith(rest):
                self._print(usage)
                self._print(f"      {meaning}")

"""A conversation as what writes it takes it: who it is between, what both sides said, the rungs of its ladder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tcpsight.output import units
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.dialogues import Dialogue, Difference, Side
from tcpsight.tables import DIRECTIONS

if TYPE_CHECKING:
    from tcpsight.conversations.catalog import Catalog
    from tcpsight.streams import Block, Conversation

BLOCK_BYTES = 1 << 16


def ends_of(conversation: Conversation) -> tuple[str, str]:
    """Name the client and the server."""
    row = conversation.connection
    client, server = (
        endpoint_text(row[f"{side}_address"].tobytes(), int(row[f"{side}_port"]), int(row["ip_version"]))
        for side in DIRECTIONS
    )
    return client, server


def side_of(conversation: Conversation, side: str) -> Side:
    """Sum up what one side sent."""
    stream = getattr(conversation, side)
    endpoint = ends_of(conversation)[DIRECTIONS.index(side)]
    return Side(endpoint, len(stream), stream.missing_bytes, *conversation.lacking(side))


def dialogue_of(conversation: Conversation, side: str | None = None, span: tuple[int, int] | None = None) -> Dialogue:
    """Give what both sides said, or one of them; of all that, or between two instants, in ns since the epoch."""
    blocks: Iterable[Block] = conversation.dialogue(most=BLOCK_BYTES)
    if side is not None:
        blocks = getattr(conversation, side).blocks(most=BLOCK_BYTES)
    if span is not None:
        blocks = (block for block in blocks if span[0] <= block.time_ns <= span[1])
    both = [side_of(conversation, name) for name in DIRECTIONS]
    start_ns = int(conversation.connection["start_ns"])
    different = differences_of(conversation, DIRECTIONS if side is None else (side,))
    return Dialogue(conversation.connection_id, start_ns, both[0], both[1], blocks, different)


def differences_of(conversation: Conversation, sides: Iterable[str] = DIRECTIONS) -> Iterator[Difference]:
    """Give what was captured of a conversation more than once, with different content."""
    for side in sides:
        yield from (Difference(side, *each) for each in getattr(conversation, side).conflicts())


def unsearched(catalog: Catalog) -> str:
    """Say how much payload nothing can be found in, as it was not captured; empty if all was."""
    rows = catalog.all.rows
    gaps = sum(int(rows[f"{side}_gap_bytes"].clip(0).sum()) for side in DIRECTIONS)
    missing = gaps + sum(catalog.streams.lacking)
    if not missing:
        return ""
    return f"{units.counted(missing, 'byte')} of payload were not captured: what stood there is not found"

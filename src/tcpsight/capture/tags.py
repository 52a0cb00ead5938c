"""Notices what stands between the link header and IP: a capture filter must name it to find anything behind it.

Theory of operation
-------------------
The EtherTypes of the first `FIRST_FRAMES` frames are looked at, of several files the first `STRETCH` of each, then
those of `STRETCH` frames in every `ROUND` of a file: it costs next to nothing, and a connection that is tagged has many
frames. Which frames does not depend on batches, nor on who reads which file.

What it cannot see: tags that only few frames have, late in a long capture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.tables import Frames

if TYPE_CHECKING:
    from tcpsight.capture.link_offset import Passing

FIRST_FRAMES = 65_536
STRETCH = 4096
ROUND = 1 << 19

IP = (0x0800, 0x86DD)
TAGS = (0x8100, 0x88A8, 0x9100)
"""Those that libpcap calls ``vlan``."""

OTHERS = (
    *(0x8847, 0x8848, 0x8864, 0x880B),  # MPLS, PPPoE, PPP
    *(0x8909, 0x88E5, 0x8926, 0x892F, 0x893F, 0x9200, 0xF1C1),  # other tags
    *(0x22F3, 0x6558, 0x6559, 0x88E7, 0x8903, 0x894F),  # frames within frames, service chains
)
"""What is read here, and what libpcap has no word for or needs to know the depth of."""

LINK_TYPE_ETHERNET = 1
ETHERTYPE_OFFSETS = {LINK_TYPE_ETHERNET: 12, 113: 14, 276: 0}
DEEPEST = 2


class TagSurvey:
    """Let all frames through and look at some of them.

    Parameters
    ----------
    inner : Passing, optional
        What frames go through first.
    of_several : bool
        Whether there are several files.

    Attributes
    ----------
    vlan_tags : int
        The most 802.1Q or 802.1ad tags in front of IP, 0 to `DEEPEST`.
    has_others : bool
        Whether there are labels, sessions or tags that no simple capture filter looks behind.
    """

    def __init__(self, inner: Passing | None = None, *, of_several: bool = False) -> None:
        self.vlan_tags = 0
        self.has_others = False
        self._inner = inner
        self._of_several = of_several

    def apply(self, frames: Frames) -> Frames:
        """Give the frames that pass, unchanged."""
        if self._inner is not None:
            frames = self._inner.apply(frames)
        if len(frames) and not self.has_others:
            some = self._chosen(frames.rows)
            if len(some):
                self._look(some, frames.data)
        return frames

    def merge(self, other: TagSurvey) -> None:
        """Add what was noticed in other files."""
        self.vlan_tags = max(self.vlan_tags, other.vlan_tags)
        self.has_others |= other.has_others

    def _chosen(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Give the frames to look at."""
        if self._of_several and not bool((rows["file"] == rows["file"][0]).all()):
            return rows[(rows["frame_in_file"] - 1) % ROUND < STRETCH]
        # Of one file they ascend. How far into a round this batch begins, and how much of its beginning is looked at.
        before = int(rows["frame_in_file"][0]) - 1
        begun = before % ROUND
        stretch = FIRST_FRAMES if before < ROUND and not self._of_several else STRETCH
        if begun < stretch:
            return rows[: _count_upto(rows, before - begun + stretch)]
        first = _count_upto(rows, before - begun + ROUND)
        return rows[first : first + _count_upto(rows[first:], before - begun + ROUND + STRETCH)]

    def _look(self, rows: np.ndarray[Any, Any], data: Any) -> None:
        view = np.frombuffer(data, np.uint8)
        for link_type, offset in ETHERTYPE_OFFSETS.items():
            some = rows[rows["link_type"] == link_type]
            for tags in range(DEEPEST + 1):
                some, ethertypes = _ethertypes(some, view, offset + 4 * tags)
                if tags and _among(ethertypes, IP).any():
                    self.vlan_tags = max(self.vlan_tags, tags)
                is_tag = _among(ethertypes, TAGS)
                some = some[is_tag]
                # libpcap knows tags behind Ethernet only.
                is_beyond = bool(is_tag.any()) and (tags == DEEPEST or link_type != LINK_TYPE_ETHERNET)
                if is_beyond or _among(ethertypes, OTHERS).any():
                    self.has_others = True
                if not len(some):
                    break


def _count_upto(rows: np.ndarray[Any, Any], number: int) -> int:
    """Count the frames of a file up to one."""
    if not len(rows) or int(rows["frame_in_file"][-1]) <= number:
        return len(rows)
    return int(np.searchsorted(rows["frame_in_file"], number, side="right"))


def _among(ethertypes: np.ndarray[Any, Any], wanted: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Tell which are among a few: `numpy.isin` sorts, and imports more than a look at a capture should cost."""
    among: np.ndarray[Any, Any] = np.logical_or.reduce([ethertypes == one for one in wanted])
    return among


def _ethertypes(
    rows: np.ndarray[Any, Any], view: np.ndarray[Any, Any], offset: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give the rows that are long enough, and the EtherType of each."""
    rows = rows[rows["captured_bytes"] >= offset + 2]
    at = rows["position"] + offset
    return rows, view[at].astype(np.int64) << 8 | view[at + 1]

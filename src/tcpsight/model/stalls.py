"""Times when a service let requests wait, told from response times that merely vary.

Theory of operation
-------------------
Requests of one service come in order of arrival; each waits until it is answered, or given up. Two things are looked
for, in windows of `WINDOW` requests, whose own habits are the baseline:

*Halts.* Between two completions there is a gap. How long gaps are while somebody waits, and how long all residents
wait together in one, have distributions; their upper halves are fitted (Weibull tails, whatever the scale), without
the largest, among which stalls are. A gap is a halt if three things are each less likely than `CHANCE`: its length;
what its residents waited together; and, by the response times of the window, that all of its residents happened to be
slow requests at once. The first allows for servers with few workers, the second for busy ones, the third for quiet
ones with some slow requests. One request alone can't be a halt, nor a gap shorter than the median response time: where
others could have waited too it is a slow request. But where there is only ever one at a time (one client, one
connection) it is all there is to see: it is a halt if its length is unlikely, and beyond what a slow request takes
(`tcpsight.model.lone`). The
gap between the last completion and the end of the capture is looked at in the same way: such a halt is not over.

*Releases.* While others are answered, some may wait for the same thing. `releases_in` tells how those are found.

What is found at overlapping times is one stall. It ended with the gap; the requests that were there right before are
those it held. The one that came first of those that were answered first is likely what the others waited for,
`blocker`: the stall began when it came, or with the gap if that was earlier. If somebody who came before that one still
waits, it was not what they waited for: where nobody was answered, the server as a whole stopped. Where nobody was
answered and the blocker came first, both are possible; that some had waited longer before the silence began than
they would have by chance (`CHANCE`) speaks for the blocker: a server that stops as a whole goes on as usual till then.
Where a server does one thing at a time, the one that was answered first is named: `tcpsight.model.blockers`.

A lock's holder may ask nothing meanwhile (idle in a transaction); its victims look as behind a request, or as if the
server stopped. It speaks again to give the lock back: a connection that nobody waited on in the second half of the
stall, and that asks nearer to its end than chance lets it (`NEAR`), is told beside the cause.

A window's rows are kept until releases in them are complete, with whoever waits still and with slow requests before;
so stalls longer than a window are found, too. Memory follows `WINDOW` and the number of residents.

What it cannot see
------------------
Locks: who waited for whom is inferred from order alone, and a pause of the whole server has a first request, too. A
holder that is silent, where another path leads to it, or where it ends without a request.
A stall at which fewer than two requests waited, or so few that chance explains it, but where there is only ever one.
Whether server, path or capturing machine stopped: a path that loses everything for a moment looks like a server that
stops. Stalls that are as frequent as other gaps: they are what is usual here.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from tcpsight.model.blockers import TURN_NS, blocker_of, blocker_of_turn, is_serial
from tcpsight.model.joining import COVERED, Candidate, joined
from tcpsight.model.lone import lone_gaps
from tcpsight.model.ordering import stable_order
from tcpsight.model.releases import releases_in
from tcpsight.model.stall_list import Stall, StallList, StallLists
from tcpsight.model.waiting import Hazard, gaps_of, tail_of
from tcpsight.tables import Requests, Unanswered, joined_rows, rows_at

WINDOW = 32_768
"""Requests that are looked at together: their habits are the baseline."""

LOOK_AHEAD = WINDOW // 4
"""So many of a window's last requests are looked at again with the next: a release takes its time."""

CHANCE = 1e-6
"""A false alarm is expected once in so many requests."""

MOST_KEPT = 1 << 20
"""Requests that wait, or are remembered, from one window to the next."""

LEAST_RESIDENTS = 2  # one request alone is slow; two may have waited for something

USUAL = 500
LEAST_USUAL = 50
"""What is usual before a stall is told by so many completions."""

TURNS = 10  # median response times that a turn of an event loop may take
MOST_EXAMPLES = 5

NEAR = 0.05  # a silent connection speaks as near to a stall's end by chance: how many do, times the share of time
ALARM = -float(np.log(CHANCE))

Rows = np.ndarray[Any, Any]

ROW = np.dtype(
    [
        ("arrival_ns", np.int64),
        ("end_ns", np.int64),
        ("connection_id", np.int64),
        ("request_index", np.int64),
        ("request_bytes", np.int64),
        ("response_bytes", np.int64),
        ("client_address", np.uint8, (16,)),
        ("client_port", np.uint16),
        ("is_answered", np.bool_),
    ],
    align=True,
)
"""What is remembered of a request; `end_ns` is its completion, or when it was given up."""


KEPT = [name for name in ROW.fields or () if name not in ("end_ns", "is_answered")]
"""Columns of requests that are remembered as they are."""


class StallDetection:
    """Find the stalls of one service.

    Feed requests in order of arrival; unanswered ones may run ahead of the others. How they are cut never changes what
    is found.

    Parameters
    ----------
    lists : StallLists, optional
        Takes what is found; all is one list by default.

    Attributes
    ----------
    left_out : int
        Requests that waited, or would have been remembered, beyond `MOST_KEPT`: they were not looked at.
    lists : StallLists
        What was found.
    """

    def __init__(self, lists: StallLists | None = None) -> None:
        self.left_out = 0
        self.lists = lists or StallLists()
        self._kept = np.zeros(0, ROW)
        self._kept_new = 0
        self._new: list[Rows] = []
        self._new_count = 0
        self._waiting = np.zeros(0, ROW)
        self._settled_ns = -(2**63)

    def feed(self, requests: Requests) -> None:
        """Take the next requests, answered or not, in order of `arrival_ns`."""
        rows = remembered(requests)
        if isinstance(requests, Unanswered):
            waiting = joined_rows([self._waiting, rows])
            self.left_out += max(len(waiting) - MOST_KEPT, 0)
            self._waiting = waiting[:MOST_KEPT]
            return
        while len(rows):
            room = max(WINDOW, len(self._kept)) - self._new_count
            self._new.append(rows[:room])
            self._new_count += len(rows[:room])
            rows = rows[room:]
            if self._new_count >= max(WINDOW, len(self._kept)):
                self._settle(None)

    def finish(self, end_ns: int) -> StallList:
        """Give what was found, is wanted and not doubted, when the capture ended at `end_ns`."""
        self._settle(end_ns)
        return self.lists.found

    def _settle(self, end_ns: int | None) -> None:
        """Look at a window; at the last if the capture has ended."""
        rows = joined_rows([self._kept, *self._new])
        new, self._new, self._new_count = self._new_count, [], 0
        if end_ns is None:
            until_ns = int(rows["arrival_ns"][-1])
            cut_ns = int(rows["arrival_ns"][-min(LOOK_AHEAD, new)])
        else:
            until_ns = cut_ns = max(end_ns, int(rows["end_ns"].max(initial=end_ns)))
        ahead = np.searchsorted(self._waiting["arrival_ns"], until_ns, "right")
        if ahead:
            rows = joined_rows([rows, self._waiting[:ahead]])
            rows = rows_at(rows, stable_order(rows["arrival_ns"]))
        self._waiting = self._waiting[ahead:]
        window = _Window(rows, until_ns, is_last=end_ns is not None)
        for candidate in joined(window.candidates()):
            is_new = self._settled_ns < candidate.end_ns <= cut_ns
            if is_new and candidate.start_ns >= self.lists.last_ns:
                self.lists.add(window.stall(candidate))
        self._settled_ns = cut_ns
        if end_ns is None:
            kept = window.kept(cut_ns)
            self.left_out += max(len(kept) - MOST_KEPT, 0)
            self._kept = kept[-MOST_KEPT:]


def remembered(requests: Requests) -> Rows:
    """Keep what matters of rows of Requests or Unanswered."""
    rows = np.zeros(len(requests), ROW)
    is_waiting = isinstance(requests, Unanswered)
    for name in KEPT:
        rows[name] = requests.rows[name]
    ends = requests.rows["end_ns" if is_waiting else "completion_ns"]
    rows["end_ns"] = np.maximum(ends, rows["arrival_ns"])
    rows["is_answered"] = not is_waiting
    return rows


class _Window:
    """Requests that are looked at together, in order of arrival."""

    def __init__(self, rows: Rows, until_ns: int, *, is_last: bool) -> None:
        self.rows = rows
        self.until_ns = until_ns
        self.is_last = is_last
        self.arrivals = np.ascontiguousarray(rows["arrival_ns"])
        self.ends = np.ascontiguousarray(rows["end_ns"])
        is_answered = rows["is_answered"]
        order = stable_order(self.ends)
        self.left = self.ends[order]
        # What completes later has neighbours that are not known yet.
        self.by_completion = order[is_answered[order] & (self.left <= until_ns)]
        self.completions = self.ends[self.by_completion]
        waits = self.ends - self.arrivals
        self.hazard = Hazard(waits)
        answered = waits[is_answered]
        self.median_ns = int(np.median(answered)) if len(answered) else 0

    @cached_property
    def is_serial(self) -> bool:
        """Whether the server does one thing at a time."""
        return is_serial(self.rows, self.median_ns)

    def candidates(self) -> list[Candidate]:
        """Look for halts and releases."""
        if not len(self.rows):
            return []
        found = self._halts()
        for release in releases_in(self.arrivals, self.ends, self.by_completion, self.median_ns, ALARM):
            times = self.arrivals[release.held], self.ends[release.held]
            start, end = int(times[0].min()), int(times[1].min())
            if end - start < TURNS * self.median_ns and self.is_serial:
                # An event loop answers together what it took up together: whether it halted, its gaps tell.
                continue
            found.append(Candidate(start, end, release.surprise, release.held, is_halt=False))
        return found

    def _halts(self) -> list[Candidate]:
        completions = self.completions
        joined, left = self.arrivals, self.left
        if self.is_last:
            # The end of the capture ends the last gap as a completion would, of one more resident.
            joined, left = np.append(joined, self.until_ns), np.append(left, self.until_ns)
            completions = np.append(completions, self.until_ns)
        gaps = gaps_of(joined, completions, left)
        closed = slice(None, -1) if self.is_last else slice(None)
        lengths, together = tail_of(gaps.length_ns[closed]), tail_of(gaps.together_ns[closed])
        if lengths is None or together is None:
            return []
        surprise = np.minimum(lengths.surprise(gaps.length_ns), together.surprise(gaps.together_ns))
        is_halt = (surprise >= ALARM) & (gaps.length_ns >= self.median_ns)
        is_lone = lone_gaps(gaps, joined, self.arrivals[self.by_completion], self.median_ns)
        is_halt &= (gaps.present >= LEAST_RESIDENTS) | is_lone
        found: list[Candidate] = []
        for gap in np.flatnonzero(is_halt):
            start, end = int(gaps.start_ns[gap]), int(gaps.end_ns[gap])
            is_over = not self.is_last or bool(gap < len(completions) - 1)
            held, unlikely = self._present(start, end), float(surprise[gap])
            if len(held) >= LEAST_RESIDENTS:
                waited = np.minimum(self.ends[held], end) - self.arrivals[held]
                slow = self.hazard.between(np.maximum(start - self.arrivals[held], 0), waited)
                if slow < ALARM and not is_lone[gap]:
                    continue
                unlikely = min(unlikely, slow)
            elif not is_lone[gap] or not len(held):
                continue
            found.append(Candidate(start, end, unlikely, held, is_over=is_over))
        return found

    def _present(self, start_ns: int, end_ns: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Give who waited between these instants without an answer, by number of row."""
        stop = int(np.searchsorted(self.arrivals, end_ns, "left"))
        is_there = np.where(self.rows["is_answered"][:stop], self.ends[:stop] >= end_ns, self.ends[:stop] > start_ns)
        return np.flatnonzero(is_there)

    def stall(self, candidate: Candidate) -> Stall:
        """Tell what there is to tell of a candidate."""
        rows = self.rows[candidate.held]
        start, end = candidate.start_ns, candidate.end_ns
        answered = rows[rows["is_answered"] & (rows["end_ns"] >= end)]
        blocker = blocker_of(answered) if candidate.is_over and len(answered) and len(rows) > 1 else None
        if blocker is not None:
            start = min(start, int(blocker["arrival_ns"]))
        silent_ns, others, since_ns = self._silence(start, end)
        is_silent = silent_ns >= COVERED * (end - start)
        cause = ""
        if blocker is not None and is_silent and self.is_serial:
            blocker = self._blocker_of_loop(since_ns, end)
            cause = "server" if blocker is None else "either"
        cause = cause or self._cause(rows, blocker, since_ns if is_silent else None)
        if cause in ("server", "unseen"):
            blocker = None
        waited = np.minimum(rows["end_ns"], end) - np.maximum(rows["arrival_ns"], start)
        connections = rows["connection_id"][np.sort(np.unique(rows["connection_id"], return_index=True)[1])]
        return Stall(
            kind="stall" if is_silent else "pile_up",
            start_ns=start,
            end_ns=end,
            silent_ns=silent_ns,
            is_over=candidate.is_over,
            requests=len(rows),
            unanswered=int((~rows["is_answered"]).sum()),
            connections=len(connections),
            waited_ns=int(np.maximum(waited, 0).sum()),
            longest_wait_ns=int((np.minimum(rows["end_ns"], end) - rows["arrival_ns"]).max()),
            drained_ns=_nine_of_ten(answered["end_ns"]) if len(answered) else end,
            answered_meanwhile=others,
            surprise=candidate.surprise,
            cause=cause,
            blocker=blocker,
            spoke_again=self._spoke_again(start, end) if candidate.is_over else None,
            # A copy: else every stall would keep the rows of all that it held.
            example=rows[np.argmin(rows["arrival_ns"])].copy(),
            examples=connections[:MOST_EXAMPLES].tolist(),
            median_ns=self._usual_ns(start),
        )

    def _usual_ns(self, start_ns: int) -> int:
        """Give the median response time right before."""
        stop = int(np.searchsorted(self.completions, start_ns, "right"))
        before = self.by_completion[max(stop - USUAL, 0) : stop]
        if len(before) < LEAST_USUAL:
            return self.median_ns
        return int(np.median(self.ends[before] - self.arrivals[before]))

    def _spoke_again(self, start_ns: int, end_ns: int) -> Any:
        """Give the request with which a connection that was silent broke its silence right before the end, or None."""
        middle_ns = start_ns + (end_ns - start_ns) // 2
        first = int(np.searchsorted(self.arrivals, middle_ns, "left"))
        stop = int(np.searchsorted(self.arrivals, end_ns, "right"))
        waiting = self.rows["connection_id"][:first][self.ends[:first] > middle_ns]
        late = self.rows[first:stop]
        late = late[np.sort(np.unique(late["connection_id"], return_index=True)[1])]
        # Who has asked nothing before holds no lock.
        silent = late[~np.isin(late["connection_id"], waiting) & (late["request_index"] > 0)]
        if not len(silent) or not silent["is_answered"][-1]:
            return None
        distance_ns = end_ns - int(silent["arrival_ns"][-1])
        is_near = len(silent) * distance_ns <= NEAR * (end_ns - middle_ns)
        return silent[-1].copy() if is_near else None

    def _cause(self, held: Rows, blocker: Any, silent_since_ns: int | None) -> str:
        """Tell what those that were held waited for; `silent_since_ns` is the last answer before there was none."""
        if len(held) == 1:
            return "alone"
        if blocker is None:
            return "unseen"
        is_after_others = bool((held["arrival_ns"] < blocker["arrival_ns"]).any())
        if silent_since_ns is None:
            return "unseen" if is_after_others else "request"
        if is_after_others:
            return "server"
        before = silent_since_ns - held["arrival_ns"]
        before = before[before > 0]
        return "request" if self.hazard.between(np.zeros_like(before), before) >= ALARM else "either"

    def _blocker_of_loop(self, since_ns: int, end_ns: int) -> Any:
        """Give what kept a server with one thread busy since an answer; None where that is not known."""
        first = int(np.searchsorted(self.completions, since_ns, "right"))
        # Who was released a moment before the others is not one of them, but may be whom they waited for.
        released_ns = min(int(self.completions[first]), end_ns) if first < len(self.completions) else end_ns
        rows = self.rows[self._present(since_ns, released_ns)]
        # Who came late waited for little: it may give back a lock, and end the stall so.
        is_early = rows["arrival_ns"] <= since_ns + (released_ns - since_ns) // 2
        rows = rows[rows["is_answered"] & is_early]
        return blocker_of_turn(rows, since_ns + TURN_NS, self.rows) if len(rows) else None

    def _silence(self, start_ns: int, end_ns: int) -> tuple[int, int, int]:
        """Tell of the longest time between these instants without a completion.

        Returns
        -------
        tuple of int
            How long it was, how many completions there were between the instants, and when the one before it was.
        """
        first, stop = np.searchsorted(self.completions, [start_ns + 1, end_ns], "left")
        instants = np.concatenate([[start_ns], self.completions[first:stop], [end_ns]])
        gap = int(np.argmax(np.diff(instants)))
        last = int(np.searchsorted(self.completions, instants[gap], "right")) - 1
        since = int(self.completions[last]) if last >= 0 else int(instants[gap])
        return int(instants[gap + 1] - instants[gap]), max(int(stop - first), 0), since

    def kept(self, cut_ns: int) -> Rows:
        """Give the rows that the next window needs: who is there after the cut, and what was slow before."""
        before = self.left[: np.searchsorted(self.left, cut_ns, "right")]
        since_ns = int(before[-1]) if len(before) else -(2**63)
        is_kept = self.ends >= since_ns
        oldest_ns = int(self.arrivals[is_kept].min(initial=since_ns))
        is_slow = (self.ends >= oldest_ns) & (self.ends - self.arrivals >= self.median_ns)
        is_recent = np.cumsum(is_slow[::-1])[::-1] <= WINDOW
        return rows_at(self.rows, is_kept | (is_slow & is_recent))


def _nine_of_ten(instants: Any) -> int:
    return int(np.sort(instants)[(9 * len(instants) + 9) // 10 - 1])

"""Sequence numbers of tcpdump's text made absolute again.

Theory of operation
-------------------
Without ``-S`` tcpdump prints the numbers of a connection absolutely on the first line with ACK that it
sees of it, remembers them, and from then on prints differences: sequence numbers less the sender's
remembered one, acknowledgments (and SACK edges) less the receiver's. A SYN-ACK makes it
remember anew. Lines without ACK are always absolute. With ``-S`` all are.

Which of the two a line is, is not printed. Both readings are compared with what the conversation has
shown so far: the number that the sender's next byte should have, and the number up to which the
other side has sent. The wrong reading is off by an initial sequence number, by hundreds of millions as
a rule. The first line that can be either decides for its conversation; a later line overturns that only
when it fits far better the other way, as happens when tcpdump itself has forgotten a conversation.
Texts cut from the middle, relative from their first line on, come out right in the same way, up to a constant
per direction.

A line without data, SYN, FIN or RST does not print its own sequence number: it gets the number after the
last byte that its sender was seen, or known by acknowledgment, to have sent.

What it cannot see: keep-alives without data (their number is one less, and not printed); where a
segment without data belongs that was captured late; a RST without ACK where the
conversation's first lines are missing, because it is absolute and nothing else is.
"""

from __future__ import annotations

from typing import NamedTuple

from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_SYN

CONVERSATION_LIMIT = 131_072
"""Conversations remembered; beyond that the one unseen for longest is forgotten (about 90 MB when full)."""

DOUBT = 1 << 22
"""A number this close to what is expected fits well enough to keep the reading that was used before."""

BETTER = 64
"""How many times closer the other reading has to be to overturn the one that was used before."""

LOST = 1 << 26
"""A printed number this far from what was expected starts the expectation anew."""

_MASK = 0xFFFFFFFF


class Numbers(NamedTuple):
    """Absolute numbers of one segment, modulo 2³²."""

    sequence: int
    acknowledgment: int
    sack_edges: tuple[int, ...]


class _Sender:
    """What is known of one direction; None where nothing is.

    `base` is what tcpdump subtracts, `expected` the number after the last byte sent. `expected` is a guess
    while nothing was printed to know it by; the first number that is printed is then moved onto
    the guess by `shift`, so that a guess never leaves a gap in the stream.
    """

    __slots__ = ("base", "expected", "is_guess", "shift")

    def __init__(self) -> None:
        self.base: int | None = None
        self.expected: int | None = None
        self.is_guess = False
        self.shift = 0

    def begin(self, number: int) -> None:
        """Start a stream whose next byte is `number`."""
        self.expected, self.is_guess, self.shift = number, False, 0

    def learn(self, number: int) -> None:
        """Note that everything before `number` was sent."""
        if self.is_guess and self.expected is not None:
            self.shift = (self.expected - number) & _MASK
            self.expected, self.is_guess = number, False
        elif self.expected is None or not -LOST < _distance(number, self.expected) <= 0:
            self.expected = number

    def unprinted(self) -> int:
        """Give the sequence number of a segment that does not print one."""
        if self.expected is None:
            self.expected, self.is_guess = 0, True
        return self.expected

    def sent(self, sequence: int, length: int, flags: int) -> int:
        """Note that `length` numbers from `sequence` on were sent; give `sequence`, or what stands for it if −1."""
        if sequence < 0:
            return self.unprinted()
        end = (sequence + length) & _MASK
        if flags & FLAG_SYN:
            self.begin(end)
        else:
            self.learn(sequence)
            self.learn(end)
        return sequence

    def error(self, number: int) -> int:
        """Tell how far `number` is from what is expected; 0 where nothing is."""
        return 0 if self.expected is None or self.is_guess else abs(_distance(number, self.expected))


class _Conversation:
    __slots__ = ("high", "is_relative", "low")

    def __init__(self) -> None:
        self.low, self.high = _Sender(), _Sender()
        self.is_relative: bool | None = None


class SequenceNumbers:
    """Make the printed numbers of one text absolute, line by line."""

    def __init__(self) -> None:
        self._conversations: dict[tuple[bytes, bytes], _Conversation] = {}
        # Lines that fitted exactly when read relatively, less those that did when read absolutely.
        self._votes = 0

    def resolve(
        self,
        endpoints: tuple[bytes, bytes],
        flags: int,
        printed: tuple[int, int],
        payload_bytes: int,
        edges: tuple[int, ...],
    ) -> Numbers:
        """Give the absolute numbers of the next line.

        Parameters
        ----------
        endpoints : tuple of bytes
            Sender and receiver, anything that identifies them.
        flags : int
            FLAG_ bits.
        printed : tuple of int
            Sequence and acknowledgment number as printed; −1 where none is.
        payload_bytes : int
            Length of its data.
        edges : tuple of int
            SACK edges as printed.
        """
        conversation, sender, receiver = self._find(endpoints)
        sequence, acknowledgment = printed
        length = payload_bytes + bool(flags & FLAG_SYN) + bool(flags & FLAG_FIN)
        if flags & FLAG_ACK and acknowledgment >= 0:
            if self._reads_relative(conversation, sender, receiver, printed, flags):
                sequence = (sequence + (sender.base or 0)) & _MASK if sequence >= 0 else sequence
                acknowledgment = (acknowledgment + (receiver.base or 0)) & _MASK
            else:
                sender.base = sequence if sequence >= 0 else sender.unprinted()
                receiver.base = (acknowledgment - 1) & _MASK
        sequence = sender.sent(sequence, length, flags)
        if acknowledgment < 0:
            return Numbers((sequence + sender.shift) & _MASK, 0, edges)
        receiver.learn(acknowledgment)
        return Numbers(
            (sequence + sender.shift) & _MASK,
            (acknowledgment + receiver.shift) & _MASK,
            tuple((_nearer(edge, receiver.base or 0, acknowledgment) + receiver.shift) & _MASK for edge in edges),
        )

    def _find(self, endpoints: tuple[bytes, bytes]) -> tuple[_Conversation, _Sender, _Sender]:
        source, destination = endpoints
        key = endpoints if source < destination else (destination, source)
        # Taken out and put back, so that the dictionary stays in the order of last use.
        conversation = self._conversations.pop(key, None)
        if conversation is None:
            conversation = _Conversation()
            if len(self._conversations) >= CONVERSATION_LIMIT:
                del self._conversations[next(iter(self._conversations))]
        self._conversations[key] = conversation
        if source < destination:
            return conversation, conversation.low, conversation.high
        return conversation, conversation.high, conversation.low

    def _reads_relative(
        self, conversation: _Conversation, sender: _Sender, receiver: _Sender, printed: tuple[int, int], flags: int
    ) -> bool:
        if flags & FLAG_SYN or sender.base is None or receiver.base is None:
            conversation.is_relative = None
            return False
        sequence, acknowledgment = printed
        absolute = receiver.error(acknowledgment)
        relative = receiver.error((acknowledgment + receiver.base) & _MASK)
        if sequence >= 0:
            absolute = max(absolute, sender.error(sequence))
            relative = max(relative, sender.error((sequence + sender.base) & _MASK))
        if relative != absolute and min(relative, absolute) == 0:
            self._votes += 1 if relative == 0 else -1
        usual = conversation.is_relative
        if usual is None:
            # Nothing but an exact fit is better evidence than how the rest of the text is printed.
            usual = relative <= absolute if min(relative, absolute) == 0 or not self._votes else self._votes > 0
        if usual:
            conversation.is_relative = not (relative > DOUBT and absolute * BETTER < relative)
        else:
            conversation.is_relative = absolute > DOUBT and relative * BETTER < absolute
        return conversation.is_relative


def _nearer(printed: int, base: int, acknowledgment: int) -> int:
    """Read a SACK edge absolutely or relatively, whichever is nearer to the acknowledgment number."""
    relative = (printed + base) & _MASK
    return min(printed & _MASK, relative, key=lambda edge: abs(_distance(edge, acknowledgment)))


def _distance(number: int, other: int) -> int:
    """Give number − other modulo 2³², as a signed number."""
    difference = (number - other) & _MASK
    return difference - (1 << 32) if difference >= 1 << 31 else difference

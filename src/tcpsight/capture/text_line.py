"""The grammar of what tcpdump prints about one TCP segment, in its new and its old words.

New (tcpdump 4): ``Flags [P.], seq 1:34, ack 1, win 512, options [nop,nop,TS val 1 ecr 2], length 33``.
Old (tcpdump 3): ``P 1:34(33) ack 1 win 512 <nop,nop,timestamp 1 2>``. With ``-q`` both: ``tcp 33``.
Numbers stay as they are printed here; `tcpsight.capture.text_sequence` makes them absolute.
"""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from tcpsight.tables import (
    FLAG_ACK,
    FLAG_AE,
    FLAG_CWR,
    FLAG_ECE,
    FLAG_FIN,
    FLAG_PSH,
    FLAG_RST,
    FLAG_SYN,
    FLAG_URG,
)

FLAG_LETTERS = {
    ord("F"): FLAG_FIN,
    ord("S"): FLAG_SYN,
    ord("R"): FLAG_RST,
    ord("P"): FLAG_PSH,
    ord("."): FLAG_ACK,
    ord("U"): FLAG_URG,
    ord("E"): FLAG_ECE,
    ord("W"): FLAG_CWR,
    ord("e"): FLAG_AE,
}

SERVICE_PORTS = {
    b"ftp-data": 20, b"ftp": 21, b"ssh": 22, b"telnet": 23, b"smtp": 25, b"domain": 53, b"http": 80, b"www": 80,
    b"kerberos": 88, b"pop3": 110, b"sunrpc": 111, b"imap": 143, b"imap2": 143, b"bgp": 179, b"ldap": 389,
    b"https": 443,
    b"microsoft-ds": 445, b"submission": 587, b"ldaps": 636, b"imaps": 993, b"pop3s": 995, b"ms-sql-s": 1433,
    b"ncube-lm": 1521, b"nfs": 2049, b"mysql": 3306, b"ms-wbt-server": 3389, b"postgresql": 5432, b"postgres": 5432,
    b"amqp": 5672, b"x11": 6000, b"redis": 6379, b"http-alt": 8080, b"webcache": 8080, b"memcache": 11211,
    b"memcached": 11211, b"mongodb": 27017,
}  # fmt: skip
"""Names tcpdump prints for ports without ``-n``, for machines whose ``/etc/services`` lacks them."""

TRUNCATED, MALFORMED, FRAGMENT, OTHER, UNREADABLE = -1, -2, -3, -4, -5
"""What stands in `TextSegment.payload_bytes` where there is no segment to count."""

_NEW = re.compile(
    rb"Flags \[([A-Za-z.]*+)\](?:, cksum 0x([0-9a-f]{1,4}) \([^)]*+\))?(?:, seq (\d{1,10})(?::(\d{1,10}))?)?"
    rb"(?:, ack (\d{1,10}))?(?:, win (\d{1,5}))?(?:, urg (\d{1,5}))?"
)
_NEW_OPTIONS = re.compile(rb", options \[(.*?)(?:\](?=, length \d)|\[\||\[bad opt\]|$)")
_NEW_LENGTH = re.compile(rb", length (\d{1,10})")
_OLD = re.compile(
    rb"([SFRPWEU.]{1,9}+)(?: \[(?:tcp sum ok|bad tcp cksum [^\]]*+)\]|, cksum 0x([0-9a-f]{1,4}) \([^)]*+\))?,?"
    rb"(?: (\d{1,10}):(\d{1,10})\((\d{1,10})\))?(?: ack (\d{1,10}))? win (\d{1,5})(?: urg (\d{1,5}))?(?: <(.*?)>)?"
)
_LENGTH = re.compile(rb"tcp (\d{1,10})(?![^ ])(?! \[bad hdr)")
_BAD_HEADER = re.compile(rb"(?:tcp \d+|Flags \[[^\]]*+\]).{0,80} ?\[bad hdr length")
_FRAGMENT = re.compile(rb"(?:ip-proto-\d+|frag \(|\(frag|tcp$)")
_PROTOCOL_WORDS = {b"ICMP6": 58, b"ICMP": 1, b"icmp": 1, b"UDP": 17, b"udp": 17, b"GRE": 47, b"ESP": 50, b"AH": 51}
_PROTOCOL_WORD = re.compile(rb"ICMP6?|icmp|UDP|udp|GRE|ESP|AH")
PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_RESERVED = 6, 17, 255


class TextSegment(NamedTuple):
    """What a line says of the segment itself; −1 where it does not say.

    Attributes
    ----------
    payload_bytes : int
        TCP payload, or one of the negative constants of this module.
    protocol : int
        IP protocol number; 255 (reserved) where the text does not tell it.
    is_sequenced : bool
        False where only the length is printed (``-q``).
    sequence, acknowledgment : int
        As printed: absolute or relative.
    """

    payload_bytes: int
    protocol: int = PROTOCOL_TCP
    is_sequenced: bool = False
    flags: int = FLAG_ACK
    sequence: int = -1
    acknowledgment: int = -1
    window: int = 0
    urgent: int = 0
    checksum: int = -1
    options: bytes = b""


def parse_segment(text: bytes) -> TextSegment:
    """Read what follows ``source > destination:``; what is not TCP gets a negative `TextSegment.payload_bytes`."""
    if text.startswith(b"tcp "):
        length = _LENGTH.match(text)
        if length is not None:
            return TextSegment(int(length[1]))
    if text.startswith((b"Flags [", b"tcp ")):
        return _parse_new(text)
    old = _OLD.match(text)
    if old is not None:
        return _parse_old(old)
    if text.startswith(b"[|tcp]"):
        return TextSegment(TRUNCATED)
    if _FRAGMENT.match(text):
        return TextSegment(FRAGMENT)
    word = _PROTOCOL_WORD.match(text)
    return TextSegment(OTHER, _PROTOCOL_WORDS[word[0]] if word else PROTOCOL_RESERVED)


def _parse_new(text: bytes) -> TextSegment:
    if _BAD_HEADER.match(text):
        return TextSegment(MALFORMED)
    found = _NEW.match(text)
    if found is None or found[1] is None:
        return TextSegment(UNREADABLE)
    if found[6] is None:  # cut before the window: `-s` ended the header
        return TextSegment(TRUNCATED if b"[|tcp]" in text else UNREADABLE)
    flags, checksum, first, last, ack, window, urgent = found.groups()
    length = None
    options = b""
    at = found.end()
    has_options = _NEW_OPTIONS.match(text, at)
    if has_options is not None:
        options = has_options[1]
        at = has_options.end()
    length = _NEW_LENGTH.match(text, at)
    sequence = int(first) if first is not None else -1
    if length is not None:
        payload = int(length[1])
    elif last is not None:
        payload = (int(last) - sequence) & 0xFFFFFFFF
    elif b"[|tcp]" in text or b"[bad opt]" in text:
        payload = 0
    else:
        return TextSegment(UNREADABLE)  # a line cut short
    return TextSegment(
        payload_bytes=payload,
        is_sequenced=True,
        flags=0 if flags == b"none" else sum({FLAG_LETTERS.get(letter, 0) for letter in flags}),
        sequence=sequence,
        acknowledgment=int(ack) if ack is not None else -1,
        window=int(window),
        urgent=int(urgent or 0),
        checksum=int(checksum, 16) if checksum else -1,
        options=options,
    )


def _parse_old(found: re.Match[bytes]) -> TextSegment:
    letters, checksum, first, _, length, ack, window, urgent, options = found.groups()
    # The point of the old form stands for "none of these letters", not for ACK.
    flags = sum({FLAG_LETTERS.get(letter, 0) for letter in letters} - {FLAG_ACK})
    return TextSegment(
        payload_bytes=int(length or 0),
        is_sequenced=True,
        flags=flags | (FLAG_ACK if ack is not None else 0) | (FLAG_URG if urgent is not None else 0),
        sequence=int(first) if first is not None else -1,
        acknowledgment=int(ack) if ack is not None else -1,
        window=int(window),
        urgent=int(urgent or 0),
        checksum=int(checksum, 16) if checksum else -1,
        options=options or b"",
    )


class Endpoint(NamedTuple):
    """An address as the wire has it (4 or 16 bytes) and a port, or `NO_PORT` or `UNKNOWN_PORT`."""

    address: bytes
    port: int


NO_PORT, UNKNOWN_PORT = -1, -2
"""No port is printed; its name is printed and not known here."""


def parse_endpoint(text: bytes) -> Endpoint | None:
    """Read ``192.0.2.1.80``, ``2001:db8::1.http`` or a bare address; None for host names."""
    if len(text) > 128:
        return None
    address = _address(text)
    if address is not None:
        return Endpoint(address, NO_PORT)
    host, _, port = text.rpartition(b".")
    address = _address(host)
    if address is None or not port:
        return None
    if port.isdigit():
        number = int(port)
        return Endpoint(address, number) if number <= 0xFFFF else None
    return Endpoint(address, port_of_name(port))


def _address(text: bytes) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6 if b":" in text else socket.AF_INET, text.decode("ascii"))
    except (OSError, ValueError):
        return None


def port_of_name(name: bytes) -> int:
    """Give the number of a port that is printed as the name of its service; `UNKNOWN_PORT` if nobody knows it."""
    known = SERVICE_PORTS.get(name)
    if known is not None:
        return known
    try:
        return socket.getservbyname(name.decode("ascii"))
    except (OSError, ValueError):
        return UNKNOWN_PORT


class IpFields(NamedTuple):
    """What ``-v`` prints of the IP header; −1 where it is not there."""

    identification: int = -1
    ttl: int = 64
    fragment: int = 0
    protocol: int = -1


_TTL = re.compile(rb"(?:ttl|hlim) +(\d{1,3})")
_ID = re.compile(rb"\bid (\d{1,5})")
_OFFSET = re.compile(rb"\boffset (\d{1,6})")
_IP_FLAGS = re.compile(rb"\bflags \[([^\]]*+)\]")
_PROTOCOL = re.compile(rb"(?:proto|next-header)(?::? (?:[\w-]+ \()?| )(\d{1,3})")
MORE_FRAGMENTS = 0x2000


def parse_ip_fields(text: bytes) -> IpFields:
    """Read ``(tos 0x0, ttl 64, id 15154, offset 0, flags [DF], proto TCP (6), length 1500)`` in any of its forms."""
    ttl, identification, offset = _TTL.search(text), _ID.search(text), _OFFSET.search(text)
    flags, protocol = _IP_FLAGS.search(text), _PROTOCOL.search(text)
    fragment = (int(offset[1]) >> 3) & 0x1FFF if offset else 0
    if flags is not None and b"+" in flags[1]:
        fragment |= MORE_FRAGMENTS
    return IpFields(
        identification=int(identification[1]) & 0xFFFF if identification else -1,
        ttl=int(ttl[1]) & 0xFF if ttl else 64,
        fragment=fragment,
        protocol=int(protocol[1]) & 0xFF if protocol else -1,
    )

"""Where a feed goes, as people write it: ``tcp://HOST:PORT``, ``unix:///PATH``, a file, and so on."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from tcpsight.errors import UsageError

FORMS = (
    "a file",
    "jsonl:FILE",
    "tcp://HOST:PORT",
    "unix:///PATH",
    "statsd://HOST:PORT",
    "dogstatsd://HOST:PORT",
    "otlp+http://HOST:PORT",
    "otlp+https://HOST:PORT",
    "kafka://BROKER,…/TOPIC",
)
"""What a target looks like."""

SCHEMES = tuple(form.split(":")[0] for form in FORMS[1:])


class Target(NamedTuple):
    """Where a feed goes.

    Attributes
    ----------
    scheme : str
        One of `SCHEMES`.
    name : str
        What messages and labels call it: the target without its query.
    hosts : tuple of (str, int)
        Names and ports.
    path : str
        A file, or the path of a URL.
    options : dict of str to str
        The query.
    """

    scheme: str
    name: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    options: dict[str, str]


def parse_target(text: str) -> Target:
    """Read a target.

    Raises
    ------
    UsageError
        If it is none.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or (scheme not in SCHEMES and "://" not in text):
        return _file(text, text)
    if scheme not in SCHEMES:
        raise _unknown(text, f"there is no feed {scheme!r}")
    if scheme == "jsonl":
        return _file(text, rest)
    if not text.isprintable():
        raise _unknown(text, "control characters are part of no address")
    if not rest.startswith("//"):
        raise _unknown(text, "two slashes come after the colon")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise _unknown(text, str(error)) from None
    if parts.fragment or (parts.query and scheme != "kafka"):
        raise _unknown(text, "nothing may follow the address")
    if "@" in parts.netloc:
        raise UsageError(f"feed {scheme}://…@…: names and passwords would show in every list of processes")
    name = text.partition("?")[0]
    if scheme == "unix":
        if parts.netloc or len(parts.path) < 2:
            raise _unknown(text, "the path of a socket begins with a slash, after the two")
        return Target(scheme, name, (), text.removeprefix("unix://"), {})
    hosts = tuple(_host(text, part, 9092 if scheme == "kafka" else None) for part in parts.netloc.split(","))
    if len(hosts) > 1 and scheme != "kafka":
        raise _unknown(text, "one host and one port")
    return Target(scheme, name, hosts, _path(text, parts), dict(parse_qsl(parts.query, keep_blank_values=True)))


def host_port(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT`` or ``[ADDRESS]:PORT``.

    Raises
    ------
    ValueError
        If it is none.
    """
    found = re.fullmatch(r"(?:\[(?P<six>[0-9a-fA-F:.%\w]+)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})", text)
    if found is None or int(found["port"]) > 65_535:
        raise ValueError(text)
    return found["six"] or found["host"], int(found["port"])


def _host(text: str, part: str, default_port: int | None) -> tuple[str, int]:
    has_port = re.search(r":[0-9]+$", part) is not None
    if not has_port and default_port is not None and part:
        part = f"{part}:{default_port}"
    try:
        return host_port(part)
    except ValueError:
        raise _unknown(text, "a host and a port are needed") from None


def _path(text: str, parts: SplitResult) -> str:
    """Give the path of a URL, which only some schemes have."""
    if parts.scheme == "kafka":
        topic = parts.path.removeprefix("/")
        # What Kafka takes for a name of a topic.
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
            raise _unknown(text, "a topic of letters, digits, dots, dashes and underscores is needed")
        return topic
    if not parts.scheme.startswith("otlp") and parts.path not in ("", "/"):
        raise _unknown(text, "nothing may follow the address")
    return parts.path


def _file(text: str, path: str) -> Target:
    if path == "-":
        raise UsageError("feed -: standard output has the lines of --json, not of a feed")
    if not path or "\0" in path:
        raise _unknown(text, "the name of the file is missing")
    return Target("jsonl", path, (), path, {})


def _unknown(text: str, reason: str) -> UsageError:
    shown = text.partition("?")[0]
    shown = shown if shown.isprintable() else ascii(shown)
    return UsageError(f"feed {shown}: {reason}; feeds are {', '.join(FORMS)}")

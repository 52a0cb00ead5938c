"""Standard streams where the locale has only ASCII: what is written to them is spelt with that."""

from __future__ import annotations

import codecs
import io
import os
import sys

SPELT = "spelt_out"
"""The encoding of such a stream. Not `ascii`, for which click writes UTF-8."""


def spell_out() -> None:
    """Spell with ASCII what goes to standard output and error, if the locale has no more."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _is_narrow(stream.encoding):
            codecs.register(_find)  # twice is once
            stream.reconfigure(encoding=SPELT)


def _is_narrow(encoding: str) -> bool:
    if not encoding.lower().startswith("utf"):
        return True
    # For the locale C Python takes UTF-8 (PEP 540), as most who have it have chosen none. Who sets LC_ALL means it; of
    # LC_CTYPE and LANG nobody can tell, for Python has changed them before (PEP 538).
    is_told = os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8")
    return not is_told and os.environ.get("LC_ALL") in ("C", "POSIX")


class _Encoder(codecs.IncrementalEncoder):
    def encode(self, text: str, final: bool = False) -> bytes:  # noqa: FBT002 (codecs calls it so)
        return _encode(text)[0]


def _encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
    from tcpsight.output.drawing import plain

    return plain(text).encode("ascii"), len(text)


def _find(name: str) -> codecs.CodecInfo | None:
    if name != SPELT:
        return None
    decoder = codecs.lookup("ascii").incrementaldecoder
    return codecs.CodecInfo(
        _encode, codecs.lookup("ascii").decode, name=SPELT, incrementalencoder=_Encoder, incrementaldecoder=decoder
    )

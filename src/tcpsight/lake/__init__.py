"""A folder of what captures told, so that none of them has to be read again: written by ``tcpsight ingest``.

Theory of operation
-------------------
A capture is ingested once. What its rooms gave (`tcpsight.rooms.Made`: requests, connections and so on, before anything
is selected) is written as Parquet files, one for each table, day and service, which other tools read, too; what else is
known of it (files, frames, what was not understood, silences) goes into the manifest. Reading a lake plays these rows
back through the same selection and the same models as a capture: what comes out is what the captures would give.

Keys are the capture and ``connection_id``. As everywhere that is the number of a frame; in a lake of several captures
those of the later ones begin behind the frames of the earlier ones, as if all of them were read at once.

A connection that is open at the end of a capture goes on in the next (`handover.py`), if that begins later: until then
it is told as if nothing came after.

What it cannot see: segments, payload and frames, which are not kept; and that a connection goes on in a capture that
was read with other options, or overlaps: it is two rows.
"""

import os
from pathlib import Path

NAME = "manifest.json"
"""The file by which a folder is known for a lake. It is looked for by every command: nothing heavy is imported here."""


def is_lake(source: object) -> bool:
    """Tell whether a source is the folder of a lake.

    Parameters
    ----------
    source : object
        What the user named.
    """
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        return False
    if "://" in os.fspath(source):
        return _is_lake_elsewhere(os.fspath(source))
    try:
        return (Path(source) / NAME).is_file()
    except (OSError, ValueError):
        return False


def _is_lake_elsewhere(name: str) -> bool:
    """Look for a lake in an object store, unless the name is that of a file: asking takes its time."""
    from tcpsight.capture.remote import is_remote
    from tcpsight.errors import TcpsightError

    if not is_remote(name) or "." in name.rpartition("/")[2]:
        return False
    from tcpsight.lake.places import Elsewhere

    try:
        return bool(Elsewhere(name).sizes([NAME]))
    except (OSError, TcpsightError):
        return False  # opening it will tell

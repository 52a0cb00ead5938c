"""The errors that tcpsight raises on purpose; anything else that escapes is a bug."""


class TcpsightError(Exception):
    """Whatever tcpsight has to tell its user; the message is one plain line.

    Examples
    --------
    >>> try:
    ...     tcpsight.open("examples/no-such.pcap").requests.to_numpy()
    ... except tcpsight.TcpsightError as error:
    ...     print(error)
    examples/no-such.pcap: cannot be opened: No such file or directory
    """


class CaptureError(TcpsightError):
    """A capture can't be read, or can't be read any further.

    Rows before the break have been delivered when this is raised.

    Parameters
    ----------
    path : str
        The file as the user named it; ``-`` for standard input.
    offset : int
        Byte offset of the break; −1 where no byte was read.
    reason : str
        What is wrong and, where there is one, what to do next.
    offset_in : str
        What the offset counts in where that is not the file as it is stored: ``the decompressed data``.

    Examples
    --------
    >>> try:
    ...     tcpsight.open("README.md").requests.to_numpy()
    ... except tcpsight.CaptureError as error:
    ...     print(error.path)
    README.md
    """

    def __init__(self, path: str, offset: int, reason: str, offset_in: str = "") -> None:
        super().__init__(path, offset, reason, offset_in)
        self.path = path
        self.offset = offset
        self.reason = reason
        self.offset_in = offset_in

    def __str__(self) -> str:
        of = f" of {self.offset_in}" if self.offset_in else ""
        place = f" (at byte {self.offset}{of})" if self.offset >= 0 else ""
        return f"{self.path}: {self.reason}{place}"


class UsageError(TcpsightError):
    """What the user asked for makes no sense, or needs something that is not there.

    Examples
    --------
    >>> tcpsight.open("examples/mariadb-lock.pcap").intervals("soon")
    Traceback (most recent call last):
    tcpsight.errors.UsageError: interval_ns is 'soon': write 200ms, 1.5s, 10min or 2h
    """


class CaptureWarning(UserWarning):
    """The rows are there, but the capture broke off behind them, or has nothing in it that could give any.

    Notes
    -----
    Turn it into an error with ``tcpsight.open(…, strict=True)``, which raises `CaptureError` instead, or silence it as
    any other warning.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", tcpsight.CaptureWarning)
    ...     rows = tcpsight.open("examples/mariadb-lock.pcap", servers=":9").requests.to_numpy()
    >>> len(rows)
    0
    """


def installing(extra: str) -> str:
    """Write how a library that an extra names is installed: beside an installed tcpsight, and in a clone of it."""
    return f"pip install 'tcpsight[{extra}]' (in a clone '.[{extra}]')"

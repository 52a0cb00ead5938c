"""The errors that tcpsight raises on purpose; anything else that escapes is a bug."""


class TcpsightError(Exception):
    """Whatever tcpsight has to tell its user; the message is one plain line."""


class CaptureError(TcpsightError):
    """A capture can't be read, or can't be read any further.

    Rows before the break have been delivered when this is raised.

    Parameters
    ----------
    path : str
        The file as the user named it; ``-`` for standard input.
    offset : int
        Byte offset of the break in the (decompressed) data; −1 where no byte was read.
    reason : str
        What is wrong and, where there is one, what to do next.
    """

    def __init__(self, path: str, offset: int, reason: str) -> None:
        self.path = path
        self.offset = offset
        self.reason = reason
        place = f" (at byte {offset})" if offset >= 0 else ""
        super().__init__(f"{path}: {reason}{place}")


class UsageError(TcpsightError):
    """What the user asked for makes no sense, or needs something that is not there."""

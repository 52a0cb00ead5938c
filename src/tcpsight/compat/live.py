"""Frames from an interface: a child tcpdump captures them and writes them into a pipe.

Only header bytes are asked for. The child is in a session of its own, so that Ctrl-C reaches us alone; we end it, it
writes what it still holds and says what the kernel dropped, and the capture ends like a file.
"""

from __future__ import annotations

import fcntl
import io
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tcpsight.errors import TcpsightError

_COUNTS = re.compile(rb"^(\d+) packets? (received by filter|dropped by kernel)$", re.MULTILINE)

PIPE_BYTES = 1 << 20
"""Room in the pipe: thousands of frames, so that whoever reads may be late."""

KERNEL_KIB = 16_384
"""Buffer of the kernel: headers of a hundred thousand frames, while the child waits for a processor."""

PATIENCE_S = 10
"""How long a child may take to end once it was told to."""


class LiveCapture:
    """A child that captures.

    Parameters
    ----------
    interface : str
        Where; empty for the first interface that is up, as tcpdump finds it.
    expression : str
        Capture filter.
    snaplen : int
        Bytes of each frame.

    Attributes
    ----------
    stream : binary file
        What it captures, as a pcap file that ends when the capture is stopped.
    received, dropped : int
        Frames that matched and frames the kernel dropped; known when it has ended.
    """

    def __init__(self, interface: str, expression: str, snaplen: int) -> None:
        self.received = self.dropped = 0
        where = ["-i", interface] if interface else []
        options = ["-n", "-p", "-U", "-B", str(KERNEL_KIB), "-s", str(snaplen), "-w", "-"]
        command = ["tcpdump", *where, *options, "--", expression]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise TcpsightError(f"live capture needs the program tcpdump: {error.strerror}") from None
        assert isinstance(self._child.stdout, io.BufferedReader)
        assert self._child.stderr is not None
        self.stream = self._child.stdout
        with suppress(OSError):  # where the system allows less
            fcntl.fcntl(self.stream, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # A few lines at most: they fit the pipe until somebody asks.
        self._messages = self._child.stderr

    def stop(self) -> None:
        """Tell it to end; what it has captured still comes."""
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGINT)

    def finish(self) -> None:
        """Wait for its end and learn what it counted.

        Raises
        ------
        TcpsightError
            It could not capture; the message is its own.
        """
        try:
            status = self._child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        said = self._messages.read()
        for number, what in _COUNTS.findall(said):
            if what.startswith(b"received"):
                self.received = int(number)
            else:
                self.dropped = int(number)
        if status != 0:
            lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.startswith("tcpdump: ")]
            raise TcpsightError(lines[-1] if lines else f"tcpdump ended with status {status}")

    def close(self) -> None:
        """End it without waiting for what it holds."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self.stream.close()
        self._messages.close()


@contextmanager
def capturing(interface: str, expression: str, *, snaplen: int, seconds: float) -> Iterator[LiveCapture]:
    """Capture for some time, or until Ctrl-C.

    Parameters
    ----------
    interface : str
        Where; empty for the first that is up.
    expression : str
        Capture filter.
    snaplen : int
        Bytes of each frame.
    seconds : float
        How long; 0 without end.

    Raises
    ------
    TcpsightError
        The program tcpdump is missing.
    """
    live = LiveCapture(interface, expression, snaplen)
    timer = threading.Timer(seconds, live.stop) if seconds else None
    is_main = threading.current_thread() is threading.main_thread()
    usual = signal.signal(signal.SIGINT, lambda *_: live.stop()) if is_main else None
    try:
        if timer is not None:
            timer.daemon = True
            timer.start()
        yield live
    finally:
        if timer is not None:
            timer.cancel()
        if is_main:
            signal.signal(signal.SIGINT, usual)
        live.close()

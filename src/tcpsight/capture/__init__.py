"""Takes a file, a pipe or an interface, gives Frames."""

from tcpsight.capture.following import Following
from tcpsight.capture.opening import Capture, open_capture
from tcpsight.capture.reader import CaptureFile, CaptureInterface

__all__ = ["Capture", "CaptureFile", "CaptureInterface", "Following", "open_capture"]

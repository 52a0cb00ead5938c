"""tcpsight: how any TCP service performs, from packet headers alone.

``tcpsight.open(path)`` opens a capture; its ``requests``, ``connections``, ``segments`` and ``intervals()`` are
tables for Polars, pandas, Arrow and NumPy.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.capture.following import Following
    from tcpsight.comparing import compare
    from tcpsight.errors import CaptureError, CaptureWarning, TcpsightError, UsageError
    from tcpsight.interval_rows import IntervalRows
    from tcpsight.opening import open
    from tcpsight.rows import Rows
    from tcpsight.split_captures import Split, split

__all__ = [
    "Analysis",
    "CaptureError",
    "CaptureWarning",
    "Following",
    "IntervalRows",
    "Rows",
    "Split",
    "TcpsightError",
    "UsageError",
    "__version__",
    "compare",
    "open",
    "split",
]

_HOMES = {
    "Analysis": "analysis",
    "IntervalRows": "interval_rows",
    "Following": "capture.following",
    "Rows": "rows",
    "Split": "split_captures",
    "compare": "comparing",
    "open": "opening",
    "split": "split_captures",
    "CaptureError": "errors",
    "CaptureWarning": "errors",
    "TcpsightError": "errors",
    "UsageError": "errors",
}


def __getattr__(name: str) -> Any:
    # Loaded when first used: `tcpsight --help` must not pay for NumPy.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"tcpsight.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tcpsight' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)

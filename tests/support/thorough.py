"""How much is tried: the share that `make test` has time for, or all of it (`make thorough`, `make checked`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

IS_THOROUGH = os.environ.get("TCPSIGHT_THOROUGH", "0") not in ("", "0")


def up_to(most: int) -> int:
    """Give how many examples Hypothesis makes: a quarter of the most, or all."""
    return most if IS_THOROUGH else most // 4


def some_of(items: Sequence[Item], one_in: int) -> Sequence[Item]:
    """Give each so-many-th of what could be looked at, or all."""
    return items if IS_THOROUGH else items[::one_in]

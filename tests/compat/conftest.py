"""Runs the older tools' faces in this process, in UTC."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.running import Here


@pytest.fixture
def here(capsysbinary: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield Here(capsysbinary)
    monkeypatch.undo()
    time.tzset()

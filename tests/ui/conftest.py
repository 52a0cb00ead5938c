"""Boards for screens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcpsight.ui.board import Board
from tests.ui.boards import two_services, watched


@pytest.fixture
def capture_path(tmp_path: Path) -> Path:
    return two_services(tmp_path)


@pytest.fixture
def board(capture_path: Path) -> Board:
    return watched(capture_path)

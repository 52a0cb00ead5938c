"""Which kernels are compiled in place: none is left behind with a layout that others have no more."""

from __future__ import annotations

import os
import runpy
import sys
import sysconfig
from pathlib import Path

import Cython.Build
import pytest
import setuptools  # type: ignore[import-untyped]

SETUP = Path(__file__).parents[2] / "setup.py"
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
OLD, NEW = 1_000_000_000, 1_000_000_100


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    """Give what would be compiled in a tree of three rooms, after some files were changed."""
    for name in ("tables.pxd", "decode/_wire.pxd", "decode/_kernel.pyx", "requests/_kernel.pyx", "network/_kernel.pyx"):
        path = tmp_path / "src" / "tcpsight" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("decode", "requests"):  # of the network nothing was ever built
        (tmp_path / "src" / "tcpsight" / name / f"_kernel{SUFFIX}").touch()
    (tmp_path / "setup.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["setup.py", "build_ext", "--inplace"])
    monkeypatch.setattr(Cython.Build, "cythonize", lambda extensions, **_: extensions)

    def told(rooms: str, *changed: str) -> list[str]:
        found: list[str] = []
        monkeypatch.setattr(setuptools, "setup", lambda **o: found.extend(each.name for each in o["ext_modules"]))
        monkeypatch.setenv("TCPSIGHT_ROOMS", rooms)
        for path in tmp_path.rglob("*.*"):
            time = NEW if any(path.match(each) for each in changed) else OLD + (path.suffix == ".so")
            os.utime(path, (time, time))
        runpy.run_path(str(SETUP))
        return [name.split(".")[1] for name in found]

    return told


def test_of_one_room_only_that_is_compiled(chosen):
    assert chosen("requests", "requests/_kernel.pyx", "decode/_kernel.pyx") == ["requests"]
    assert chosen("requests", "requests/_kernel.pyx", "decode/_wire.pxd") == ["requests"]
    assert chosen("requests") == []


def test_a_new_layout_takes_the_kernels_of_other_rooms_that_are_built(chosen, capsys):
    assert chosen("requests", "tables.pxd") == ["decode", "requests"]
    assert "a shared layout is newer than 1 kernels of other rooms" in capsys.readouterr().err


def test_without_rooms_all_that_is_not_current_is_compiled(chosen):
    assert chosen("", "decode/_kernel.pyx") == ["decode", "network"]

"""What `make release-check` refuses, as far as it needs no build; what wheels are made for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import tcpsight
from tests.support.scripts import module_of

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- this\n"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return module_of(ROOT / "tools" / "release.py")


def test_the_version_stands_in_one_place(release):
    assert release.version() == tcpsight.__version__


def test_a_release_is_in_the_changelog_with_its_date_and_nothing_is_left_over(release):
    def check(text: str) -> None:
        release.check_changelog(text, "1.2.3", is_unreleased=False)

    check("## [Unreleased]\n\n## [1.2.3] - 2026-11-23\n\n- this\n")
    for text, words in (
        (UNRELEASED, "no section"),
        ("## [1.2.3]\n\n- this\n", "no date"),
        ("## [1.2.3] - 2026-11-23\n\nnothing\n", "nothing stands"),
        ("## [Unreleased]\n\n- that\n\n## [1.2.3] - 2026-11-23\n\n- this\n", "something is left"),
    ):
        with pytest.raises(release.ReleaseError, match=words):
            check(text)


def test_before_a_release_what_is_unreleased_will_do(release):
    release.check_changelog(UNRELEASED, "1.2.3", is_unreleased=True)
    release.check_changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), tcpsight.__version__, is_unreleased=True)


def test_a_wheel_without_kernels_or_of_another_version_is_refused(release, tmp_path):
    import zipfile

    pytest.importorskip("packaging")
    fields = {
        "Metadata-Version": "2.4",
        "Name": "tcpsight",
        "Version": "1.2.3",
        "Summary": "s",
        "Requires-Python": ">=3.11",
    }
    fields |= {"License-Expression": "Apache-2.0", "Description-Content-Type": "text/markdown"}
    path = tmp_path / "tcpsight-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tcpsight-1.2.3.dist-info/METADATA", "".join(f"{k}: {v}\n" for k, v in fields.items()))
    with pytest.raises(release.ReleaseError, match=r"is of version 1\.2\.3, not 1\.2\.4"):
        release.check_wheel(path, "1.2.4")
    with pytest.raises(release.ReleaseError, match="lacks the kernels"):
        release.check_wheel(path, "1.2.3")


def test_every_dependency_says_its_oldest_version_which_a_lane_of_ci_installs():
    oldest = module_of(ROOT / "tools" / "oldest.py")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert len(oldest.constraints()) == len(project["dependencies"])
    assert "numpy==2.0" in oldest.constraints()
    assert 'stage "wheel with the oldest dependencies"' in (ROOT / ".ci" / "run").read_text("utf-8")


def test_tests_that_run_in_another_order_are_those_that_only_compute():
    from tests.conftest import COMPUTING

    (line,) = (line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("COMPUTING = "))
    folders, _, rooms = line.removeprefix("COMPUTING = ").partition("$(patsubst %,tests/unit/%,")
    named = {tuple(each.split("/")[1:]) for each in folders.split()} | {
        ("unit", room) for room in rooms.rstrip(")").split()
    }
    assert named == COMPUTING


def test_wheels_are_made_for_glibc_musl_and_macos():
    made = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["cibuildwheel"]
    assert {"manylinux-x86_64-image", "musllinux-x86_64-image"} <= set(made["linux"])
    assert set(made["macos"]["archs"]) == {"x86_64", "arm64"}
    assert "tcpsight report" in made["test-command"]


def test_what_has_grown_beyond_what_the_docs_tell_is_named():
    footprint = module_of(ROOT / "tools" / "footprint.py")
    told = footprint.PAGE.read_text("utf-8")
    assert footprint.compare(told, told) == []
    size = footprint.told(told, "tcpsight alone", 2)
    grown = told.replace(f"| tcpsight alone | {size} |", f"| tcpsight alone | {size * 1.2:.1f} |")
    assert footprint.compare(told, grown) == [
        f"tcpsight alone: {size * 1.2:.1f} where {size} is told in docs/methods/footprint.md"
    ]
    starts = footprint.told(told, "`tcpsight --help`", 3)
    slower = told.replace(f"| {starts} |", f"| {starts * 2} |")
    assert footprint.compare(told, slower) == [
        f"`tcpsight --help`: {starts * 2} where {starts} is told in docs/methods/footprint.md"
    ]


def test_the_docs_tell_what_every_extra_weighs():
    footprint = module_of(ROOT / "tools" / "footprint.py")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # A country's file is read by 0.1 MB; the others are for who works on tcpsight.
    assert set(footprint.EXTRAS) == set(project["optional-dependencies"]) - {"country", "fuzz", "peers", "dev"}
    text = footprint.PAGE.read_text("utf-8")
    assert all(f"| `[{extra}]` adds |" in text for extra in footprint.EXTRAS)

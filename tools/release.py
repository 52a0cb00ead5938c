"""Check that what is here can be released: ``python tools/release.py``, or ``make release-check``.

In this order, as each step is dearer than the one before: the version is that of one place, the changelog has its
section, an sdist is built, a wheel is built from that sdist in an empty environment, their metadata and contents are
right, the wheel installs where there is no compiler and does the main job, and is as large as the docs tell. Nothing is
uploaded, nothing is tagged.

``--unreleased`` takes a changelog that has no section of this version yet; for all but the release itself.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
CAPTURE = ROOT / "examples" / "mariadb-lock.pcap"
WANTED = ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Description-Content-Type")


class ReleaseError(Exception):
    """Why this cannot be released."""


def version() -> str:
    """Give the version; it stands in one place, from which all others are made."""
    (found,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "src/tcpsight/__init__.py").read_text("utf-8"), re.M)
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", found):
        raise ReleaseError(f"{found} is not written as a version of a release: 1.2.3, 1.2.3rc1")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    if "version" in project["project"] or project["tool"]["setuptools"]["dynamic"]["version"] != {
        "attr": "tcpsight.__version__"
    }:
        raise ReleaseError("pyproject.toml has a version of its own")
    return str(found)


def check_changelog(text: str, number: str, *, is_unreleased: bool) -> None:
    """Look for the section of a version, with a date and with something in it.

    Parameters
    ----------
    text : str
        The changelog.
    number : str
        The version.
    is_unreleased : bool
        Whether what is still called unreleased will do.
    """
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    found = {head.strip(): body for head, _, body in (section.partition("\n") for section in sections)}
    heads = [head for head in found if head.startswith(f"[{number}]")]
    if is_unreleased and not heads:
        heads = [head for head in found if head == "[Unreleased]"]
    elif heads and not re.fullmatch(r"\[.+\] - \d{4}-\d{2}-\d{2}", heads[0]):
        raise ReleaseError(f"CHANGELOG.md: '## {heads[0]}' has no date: '## [{number}] - YYYY-MM-DD'")
    if not heads:
        raise ReleaseError(
            f"CHANGELOG.md has no section '## [{number}] - YYYY-MM-DD': rename [Unreleased], begin a new one"
        )
    if not re.search(r"^- ", found[heads[0]], re.M):
        raise ReleaseError(f"CHANGELOG.md: nothing stands under '## {heads[0]}'")
    if not is_unreleased and re.search(r"^- ", found.get("[Unreleased]", ""), re.M):
        raise ReleaseError(f"CHANGELOG.md: something is left under [Unreleased], which {number} would not tell")


def built(*arguments: str) -> Path:
    """Build an sdist or a wheel in an environment that has what pyproject.toml asks for, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", *arguments, "--outdir", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReleaseError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (made,) = Path(folder).iterdir()
        DIST.mkdir(exist_ok=True)
        return Path(shutil.move(made, DIST / made.name))


def wheel_of(sdist: Path) -> Path:
    """Build the wheel from what the sdist has, not from what lies here."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        return built("--wheel", str(source))


def check_sdist(path: Path) -> None:
    """Look for all sources of the kernels, the licence, and what does not belong there."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kernels = {
        each.relative_to(ROOT).as_posix() for each in (ROOT / "src").rglob("*.p[xy][xid]*") if each.suffix != ".pyc"
    }
    if missing := sorted(({*kernels, "LICENSE", "README.md", "tools/manual.py"}) - names):
        raise ReleaseError(f"{path.name} lacks {', '.join(missing)}")
    if found := sorted(name for name in names if name.endswith((".c", ".so", ".pcap"))):
        raise ReleaseError(f"{path.name} has what was built or recorded: {', '.join(found)}")


def check_wheel(path: Path, number: str) -> None:
    """Look at the metadata, and for a compiled kernel of each source."""
    from packaging.metadata import Metadata

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = archive.read(place).decode()
    metadata = Metadata.from_email(text, validate=True)
    if missing := [field for field in WANTED if not re.search(rf"^{field}: ", text, re.M)]:
        raise ReleaseError(f"{path.name}: metadata without {', '.join(missing)}")
    if str(metadata.version) != number:
        raise ReleaseError(f"{path.name} is of version {metadata.version}, not {number}")
    kernels = [each.relative_to(ROOT / "src").with_suffix("").as_posix() for each in (ROOT / "src").rglob("*.pyx")]
    if missing := [kernel for kernel in kernels if not any(name.startswith(f"{kernel}.") for name in names)]:
        raise ReleaseError(f"{path.name} lacks the kernels {', '.join(missing)}")
    if "tcpsight/py.typed" not in names:
        raise ReleaseError(f"{path.name} lacks py.typed")


def check_footprint(wheel: Path) -> None:
    """Compare sizes and start-up with what the docs tell."""
    command = [sys.executable, str(ROOT / "tools" / "footprint.py"), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{done.stdout}{done.stderr[-2000:]}'make footprint' stores what is so now")


def main(arguments: list[str]) -> int:
    """Check all of it; say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--unreleased", action="store_true", help="take a changelog without a section of this version")
    options = parser.parse_args(arguments)
    try:
        number = version()
        print(f"version       {number}, from src/tcpsight/__init__.py")
        check_changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), number, is_unreleased=options.unreleased)
        print("changelog     fine")
        sdist = built("--sdist", str(ROOT))
        check_sdist(sdist)
        print(f"sdist         {sdist.name}, {sdist.stat().st_size / 1e6:.1f} MB")
        wheel = wheel_of(sdist)
        check_wheel(wheel, number)
        print(f"wheel         {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB, built from the sdist; metadata fine")
        command = [str(ROOT / ".ci" / "test-wheel"), sys.executable, str(wheel), str(CAPTURE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ReleaseError(f".ci/test-wheel: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        print("installation  works without a compiler")
        check_footprint(wheel)
        print("footprint     as docs/methods/footprint.md tells")
    except ReleaseError as error:
        print(f"not to be released: {error}", file=sys.stderr)
        return 1
    print(f"{number} can be released: see CONTRIBUTING.md, Releases")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Find and build the compiled kernels; everything else is in ``pyproject.toml``.

Every ``.pyx`` under ``src/tcpsight`` becomes an extension module of the same
name. ``TCPSIGHT_CHECKED=1`` builds them with bounds, wraparound and overflow
checks and, where the compiler can, with the undefined behaviour sanitizer;
``TCPSIGHT_CHECKED=address`` adds the address sanitizer, whose library must be
loaded before Python (``make fuzz-address`` does it).
``TCPSIGHT_ROOMS=decode,requests`` builds the kernels of these rooms only, and of the other rooms those that are older
than a layout that all share: a kernel with the old one would read wrong numbers from the new.
"""

import multiprocessing
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE = Path("src")
CHECKED = os.environ.get("TCPSIGHT_CHECKED", "0") not in ("", "0")
ROOMS = [room for room in os.environ.get("TCPSIGHT_ROOMS", "").split(",") if room]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    # Off in both builds, so that both mean the same: with boundscheck on, a negative index raises.
    "wraparound": False,
    # On in both builds for the same reason: the sanitizer catches a division by zero.
    "cdivision": True,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "overflowcheck": CHECKED,
    "embedsignature": True,
    "show_performance_hints": False,
}
# Generic x86-64: CPU flags made no measurable difference, and a wheel must run anywhere.
FAST_FLAGS = ["-O3", "-g0"]

# What is installed needs no names of its functions, a tenth of its size; who builds in place may want to look inside.
STRIPPED = ["-Wl,-s"] if "bdist_wheel" in sys.argv and sys.platform == "linux" else []
CHECKED_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer"]
SANITIZERS = "undefined,address" if os.environ.get("TCPSIGHT_CHECKED") == "address" else "undefined"
SANITIZER_FLAGS = [f"-fsanitize={SANITIZERS}", "-fno-sanitize-recover=undefined"]


def links(compiler: list[str], flags: list[str]) -> bool:
    """Tell whether a shared library compiles and links with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("int probe(int a) { return a + 1; }\n", encoding="ascii")
        command = [*compiler, "-shared", "-fPIC", *flags, str(source), "-o", str(Path(folder, "probe.so"))]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


class BuildKernels(build_ext):
    """Compile kernels in parallel, with the sanitizer when the compiler has it."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self) -> None:
        if CHECKED:
            compiler = list(getattr(self.compiler, "compiler_so", ["cc"]))[:1]
            if links(compiler, SANITIZER_FLAGS):
                for extension in self.extensions:
                    extension.extra_compile_args += SANITIZER_FLAGS
                    extension.extra_link_args += SANITIZER_FLAGS
            else:
                print("the compiler has no undefined behaviour sanitizer: building without it", file=sys.stderr)
        super().build_extensions()


class InstallManual(Distribution().get_command_class("install_data")):  # type: ignore[misc]
    """Install manual pages and completions of shells, written from the commands as they are."""

    def run(self) -> None:
        sys.path[:0] = [str(SOURCE), "tools"]
        import manual

        folder = Path("build", "manual")
        written = manual.write(folder)
        places = sorted({path.parent for path in written})
        self.data_files = [
            (str(place), [str(folder / path) for path in written if path.parent == place]) for place in places
        ]
        super().run()


def built_from(path: Path) -> Path:
    """Give where the kernel of a ``.pyx`` is, built in place."""
    return path.with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))


def is_current(path: Path) -> bool:
    """Tell whether the kernel built in place is newer than everything it may be made of."""
    built = built_from(path)
    sources = [path, Path("setup.py"), *SOURCE.glob("tcpsight/**/*.pxd")]
    return built.exists() and built.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def with_old_layout() -> set[Path]:
    """Find kernels, built in place, that are older than a ``.pxd`` that all rooms share."""
    changed = max(source.stat().st_mtime for source in SOURCE.glob("tcpsight/*.pxd"))
    built = {path: built_from(path) for path in SOURCE.glob("tcpsight/**/*.pyx")}
    return {path for path, kernel in built.items() if kernel.exists() and kernel.stat().st_mtime <= changed}


def kernels() -> list[Extension]:
    """Give one extension for each ``.pyx`` under ``src/tcpsight``, or under the chosen rooms."""
    places = [f"tcpsight/{room}/**/*.pyx" for room in ROOMS] or ["tcpsight/**/*.pyx"]
    chosen = {path for place in places for path in SOURCE.glob(place)}
    paths = sorted(chosen)
    if "--inplace" in sys.argv:
        others = with_old_layout() - chosen
        if others:
            print(f"a shared layout is newer than {len(others)} kernels of other rooms: these, too", file=sys.stderr)
        paths = sorted(chosen | others)
        # Cython would rebuild them all when Cython itself is newer, as it is after `pip install -e`.
        paths = [path for path in paths if not is_current(path)]
    return [
        Extension(
            ".".join(path.relative_to(SOURCE).with_suffix("").parts),
            [str(path)],
            define_macros=[("TCPSIGHT_CHECKED", "1" if CHECKED else "0")],
            extra_compile_args=CHECKED_FLAGS if CHECKED else FAST_FLAGS,
            extra_link_args=STRIPPED,
        )
        for path in paths
    ]


setup(
    ext_modules=cythonize(
        kernels(),
        include_path=[str(SOURCE)],
        build_dir="build/checked/c" if CHECKED else "build/c",
        compiler_directives=DIRECTIVES,
        # Other ways to start a process would run this file again.
        nthreads=(os.cpu_count() or 1) if multiprocessing.get_start_method() == "fork" else 0,
    ),
    cmdclass={"build_ext": BuildKernels, "install_data": InstallManual},
    data_files=[("share/man/man1", [])],  # so that there is something to install: `InstallManual` says what
)

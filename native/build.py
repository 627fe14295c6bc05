"""Builds the media engine: a cffi module in API mode, `native._engine`.

    python native/build.py              in place, beside the sources
    python native/build.py DIRECTORY    a whole package `native` in DIRECTORY, which is left alone otherwise: with
                                        DIRECTORY first in PYTHONPATH, programs use that one

With BRANCHLINE_SANITIZE=address,undefined (or thread) in the environment the engine is built with these sanitizers;
give such a build a DIRECTORY of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
ROOT = NATIVE.parent
SANITIZE = os.environ.get("BRANCHLINE_SANITIZE", "")

# No -march: a wheel must run on any machine of its architecture.
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
# Nobody reads the exceptions of floating point; with them, arm64's gcc won't turn a saturation into vector code.
PLAIN = ["-O3", "-fno-trapping-math"]
# gcc warns that ThreadSanitizer does not model fences: stream.c's are between atomic accesses, which it does.
SANITIZED = [f"-fsanitize={SANITIZE}", "-g", "-O1", "-fno-omit-frame-pointer", "-Wno-tsan"]

ffibuilder = FFI()
ffibuilder.cdef((NATIVE / "engine.h").read_text().removeprefix("#pragma once\n"))
ffibuilder.set_source(
    "native._engine",
    '#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include "engine.h"',
    sources=[f"native/{path.name}" for path in sorted(NATIVE.glob("*.c")) if path.name != "_engine.c"],
    depends=["native/build.py", *(f"native/{path.name}" for path in sorted(NATIVE.glob("*.h")))],
    include_dirs=["native"],
    libraries=["asound", "spandsp", "speexdsp", "ssl", "crypto"],
    extra_compile_args=["-std=c11", "-fvisibility=hidden", *WARNINGS, *(SANITIZED if SANITIZE else PLAIN)],
    extra_link_args=[f"-fsanitize={SANITIZE}"] if SANITIZE else [],
)


def build(directory: Path) -> None:
    """By setuptools, as `pip install` does it; the objects stay in `build/`, apart for each kind of build."""
    objects = ROOT / "build" / f"engine-{SANITIZE or 'plain'}"
    where = ["--inplace"] if directory == ROOT else ["--build-lib", str(directory)]
    # -W: older versions of setuptools call their reading of pyproject.toml beta.
    setup = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext"]
    built = subprocess.run([*setup, "--build-temp", str(objects), *where], cwd=ROOT)
    if built.returncode:
        raise SystemExit(built.returncode)
    if directory != ROOT:
        for path in (*NATIVE.glob("*.py"), NATIVE / "py.typed"):
            shutil.copy(path, directory / "native")


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)

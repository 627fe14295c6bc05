"""C beside this file, for threads that must not wait for Python."""

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

FLAGS = "-std=c11 -O2 -Wall -Wextra -Werror -shared -fPIC -pthread"


def compiled(name: str) -> ctypes.CDLL:
    """Raises: OSError, subprocess.CalledProcessError: there is no C compiler, or it refused."""
    with tempfile.TemporaryDirectory() as directory:
        library = Path(directory) / f"{name}.so"
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(["cc", *FLAGS.split(), "-o", library, source], check=True)
        return ctypes.CDLL(str(library))


def address(array: Any) -> int:
    """Of a numpy array, which has to live on."""
    pointer: int = array.ctypes.data
    return pointer

"""What the errno of a C call means in Python."""

import errno
import os
from typing import Any

from native._engine import ffi


def made(pointer: Any, fault: str = "") -> Any:
    if pointer == ffi.NULL:
        raise error(fault)
    return pointer


def check(result: int, fault: str = "") -> None:
    if result < 0:
        raise error(fault)


def error(fault: str = "") -> Exception:
    """Of the C call that has just failed; `fault` is what its EINVAL means."""
    if ffi.errno == errno.ENOMEM:
        return MemoryError()
    if ffi.errno == errno.EINVAL:
        return ValueError(fault)
    return OSError(ffi.errno, os.strerror(ffi.errno))

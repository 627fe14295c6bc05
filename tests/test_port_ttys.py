"""A port's tty: raw, ours alone, opened and closed by threads, and told of in plain words."""

import os
import threading
import tty
from pathlib import Path

import pytest
import trio

from drivers.errors import LineAbsent, LineBlocked, LineLost
from drivers.port import close_tty, open_tty


async def test_a_tty_is_raw_exclusive_and_flushed() -> None:
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        path = os.ttyname(slave)
        os.write(master, b"stale\r\n")
        # A thread of the kernel's brings it there.
        await trio.lowlevel.wait_readable(slave)
        fd = await open_tty(path)
        with pytest.raises(LineLost, match=f"^{path}: in use by another program$"):
            await open_tty(path)
        stream = trio.lowlevel.FdStream(os.dup(fd))
        await stream.send_all(b"AT\r")
        assert os.read(master, 100) == b"AT\r"
        os.write(master, b"\r\nOK\x03\x04\xff\n")
        with trio.fail_after(5):
            got = b""
            while len(got) < 8:
                got += await stream.receive_some(100)
        assert got == b"\r\nOK\x03\x04\xff\n"
        await stream.aclose()
        close_tty(fd)
        close_tty(await open_tty(path))
    finally:
        os.close(master)
        os.close(slave)


async def test_a_tty_is_closed_by_a_thread_as_that_may_take_long() -> None:
    master, slave = os.openpty()
    try:
        fd = await open_tty(os.ttyname(slave))
        close_tty(fd)
        for thread in threading.enumerate():
            if thread.name == "close_tty":
                thread.join()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    finally:
        os.close(master)
        os.close(slave)


async def test_what_cannot_be_opened_is_told_in_plain_words(tmp_path: object) -> None:
    with pytest.raises(LineLost, match="no such device"):
        await open_tty(f"{tmp_path}/ttyUSB9")
    path = f"{tmp_path}/file"
    open(path, "w").close()  # noqa: ASYNC230
    with pytest.raises(LineLost, match=f"^{path}: "):
        await open_tty(path)


async def test_a_tty_that_another_has_is_a_persons_case_and_one_that_is_not_there_is_absent(tmp_path: Path) -> None:
    with pytest.raises(LineAbsent):
        await open_tty(str(tmp_path / "ttyUSB2"))
    master, slave = os.openpty()
    path = os.ttyname(slave)
    fd = await open_tty(path)
    try:
        with pytest.raises(LineBlocked, match="in use by another program"):
            await open_tty(path)
    finally:
        for each in (fd, slave, master):
            os.close(each)

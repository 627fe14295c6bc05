import hashlib
import hmac
import io
import shutil
import time

import pytest
import trio
from rich.console import Console

from hil.customer import Inbox, Missing, Post, is_signed
from hil.report import Report


def report() -> Report:
    return Report(Console(file=io.StringIO(), width=100), ["lines up", "call", "recording"])


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(report.table())
    return console.file.getvalue()


def test_what_was_never_tried_does_not_hold():
    told = report()
    for title in ("lines up", "call"):
        with told.proof(title):
            pass
    assert not told.held
    assert "not reached" in printed(told)


def test_all_held_is_held():
    told = report()
    for title in told.proofs:
        with told.proof(title) as proof:
            proof.figure("3 ms")
    assert told.held


def test_a_fault_fails_its_proof_and_lets_it_go_on():
    told = report()
    with told.proof("call") as proof:
        proof.expect(False, "cause 16", 17)
        proof.figure("5 ms")
    assert proof.faults == ["expected cause 16; came: 17"]
    assert proof.figures == ["5 ms"]
    assert not proof.held


def test_what_is_missing_ends_the_chapter():
    told = report()
    with told.chapter():
        with told.proof("lines up"):
            raise Missing("no line")
        raise AssertionError("not reached")
    assert told.proofs["lines up"].faults == ["no line"]


def test_a_proof_that_is_cut_short_does_not_hold():
    told = report()
    with pytest.raises(ZeroDivisionError), told.proof("call"):
        print(1 / 0)
    assert not told.proofs["call"].held


async def test_an_inbox_gives_what_came_before_and_what_comes_later(nursery, autojump_clock):
    inbox = Inbox[int]()
    inbox.put(1)
    nursery.start_soon(_put_later, inbox)
    assert await inbox.get("one", lambda item: item == 1, within_s=1) == 1
    assert await inbox.get("two", lambda item: item == 2, within_s=10) == 2
    with pytest.raises(Missing, match=r"expected three within 5 s(.|\n)*\n  1\n  2"):
        await inbox.get("three", lambda item: item == 3, within_s=5)


async def _put_later(inbox: Inbox[int]) -> None:
    await trio.sleep(5)
    inbox.put(2)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
@pytest.mark.parametrize(
    ("secret", "body", "age_s", "good"),
    [
        ("whsec_demo", b"{}", 0, True),
        ("demo", b"{}", 0, False),
        ("whsec_demo", b"{ }", 0, False),
        ("whsec_demo", b"{}", 301, False),
    ],
)
async def test_a_signature_is_good_for_its_secret_body_and_time_alone(secret, body, age_s, good):
    t = int(time.time()) - age_s
    v1 = hmac.new(b"whsec_demo", b"%d.{}" % t, hashlib.sha256).hexdigest()
    event = Post(0, "/events", {"phonevoice-signature": f"t={t},v1={v1}"}, body)
    assert await is_signed(event, secret) is good


async def test_an_unsigned_event_is_not_signed():
    assert not await is_signed(Post(0, "/events", {}, b"{}"), "whsec_demo")

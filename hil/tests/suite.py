"""One suite for every line of a bench: tests of all lines run at the same time, those of one line one after another.

    @suite("busy")
    async def test_who_is_busy_is_told_as_busy(place: Place) -> None: ...

The first one asked for runs all that are wanted; then each shows what came of it, for each line.
"""

import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import outcome
import pytest
import trio

from hil.card import missing
from hil.models import MODELS
from hil.site import Place, open_real, open_simulated
from hil.station import Station
from hil.telephone import Telephone
from hil.wires import Wires

Test = Callable[[Place], Awaitable[None]]
# Says why a test cannot be done at a place; empty: it can.
Need = Callable[[Place], str]
Key = tuple[object, str]
Site = AbstractAsyncContextManager[dict[str, list[Place]]]

WIRES = pytest.StashKey[list[Wires] | None]()
# A machine that is slow, or a network; nothing is measured with it.
SOON_S = 30.0
READY_S, LIMIT_S = 90.0, 300.0
TRIES = 5
# How many models are simulated at the same time: under a sanitizer, where ./dev sets this, a machine keeps up with
# fewer.
AT_ONCE = math.ceil(len(MODELS) / int(os.environ.get("BRANCHLINE_SLOWNESS", "1")))

T = TypeVar("T")


class Skipped(Exception):
    """With the reason."""


class NotReady(AssertionError):
    """One of the two lines did not come up."""


@dataclass(frozen=True)
class _Case:
    title: str
    test: Test
    needs: Sequence[Need]


class Suite:
    def __init__(self) -> None:
        self._cases: dict[object, _Case] = {}
        self._outcomes: dict[Key, outcome.Outcome[None]] = {}
        self._figures: dict[Key, list[str]] = {}
        self._seconds: dict[Key, float] = {}

    def __call__(self, title: str, *needs: Need) -> Callable[[Test], Callable[..., None]]:
        """The title stands in the table at the end."""

        def enter(test: Test) -> Callable[..., None]:
            def show(request: pytest.FixtureRequest, line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
                if (show, line) not in self._outcomes:
                    trio.run(self._run, self._wanted(request), request.config.stash[WIRES], tmp_path_factory)
                request.node.user_properties.append(("line", line))
                request.node.user_properties += [("figure", text) for text in self._figures.get((show, line), ())]
                request.node.user_properties.append(("seconds", round(self._seconds.get((show, line), 0.0), 1)))
                try:
                    self._outcomes[show, line].unwrap()
                except Skipped as exc:
                    pytest.skip(str(exc))

            self._cases[show] = _Case(title, test, needs)
            show.__name__ = test.__name__
            show.__doc__ = test.__doc__
            return show

        return enter

    def _wanted(self, request: pytest.FixtureRequest) -> dict[str, list[Key]]:
        """By line, in the order of the session."""
        wanted: dict[str, list[Key]] = {}
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.function in self._cases:
                line = str(item.callspec.params["line"])
                wanted.setdefault(line, []).append((item.function, line))
        return wanted

    async def _run(
        self, wanted: Mapping[str, Sequence[Key]], wires: list[Wires] | None, directories: pytest.TempPathFactory
    ) -> None:
        for some, site in _sites(wanted, wires, directories):
            await self._run_site(some, site)
        for key in chain.from_iterable(wanted.values()):
            reason = (wires is None and why_not(key[1])) or "this line has no partner"
            self._outcomes.setdefault(key, outcome.Error(Skipped(reason)))

    async def _run_site(self, wanted: Mapping[str, Sequence[Key]], site: Site) -> None:
        try:
            async with site as places, trio.open_nursery() as nursery:
                for name, alike in places.items():
                    for at, place in enumerate(alike):
                        nursery.start_soon(self._run_place, place, wanted.get(name, [])[at :: len(alike)])
        except Exception as exc:
            for key in chain.from_iterable(wanted.values()):
                self._outcomes.setdefault(key, outcome.Error(exc))

    async def _run_place(self, place: Place, keys: Sequence[Key]) -> None:
        was_ready = False
        for at, key in enumerate(keys):
            begun = trio.current_time()
            for _ in range(TRIES):
                tried_at = trio.current_time()
                place.figures = self._figures[key] = []
                self._outcomes[key] = await outcome.acapture(_try, place, self._cases[key[0]])
                if not (self._failed(key) and place.was_late(since=tried_at)):
                    break
            self._seconds[key] = trio.current_time() - begun
            match self._outcomes[key]:
                case outcome.Error(Skipped()):
                    pass
                case outcome.Error(NotReady() as exc) if not was_ready:
                    # What was never there is not waited for again by each test.
                    self._outcomes.update({other: outcome.Error(NotReady(str(exc))) for other in keys[at + 1 :]})
                    return
                case _:
                    was_ready = True

    def _failed(self, key: Key) -> bool:
        result = self._outcomes[key]
        return isinstance(result, outcome.Error) and not isinstance(result.error, Skipped)

    # --- the table ---

    def table(self) -> list[list[str]]:
        """A row of titles, and one for each line; empty when nothing was run."""
        lines = list(dict.fromkeys(line for _, line in self._outcomes))
        shown = [show for show in self._cases if any((show, line) in self._outcomes for line in lines)]
        rows = [[line, *(self._word(show, line) for show in shown)] for line in lines]
        return [["", *(self._cases[show].title for show in shown)], *rows] if rows else []

    def _word(self, show: object, line: str) -> str:
        match self._outcomes.get((show, line)):
            case None:
                return ""
            case outcome.Error(Skipped()):
                return "-"
            case outcome.Error():
                return "FAILED"
        return " ".join(self._figures.get((show, line), ())) or "ok"


suite = Suite()


def _sites(
    wanted: Mapping[str, Sequence[Key]], wires: list[Wires] | None, directories: pytest.TempPathFactory
) -> Iterator[tuple[Mapping[str, Sequence[Key]], Site]]:
    """One after another, and what is wanted of each."""
    if wires is not None:
        yield wanted, open_real(wires)
        return
    names = [name for name in wanted if not why_not(name)]
    for at in range(0, len(names), AT_ONCE):
        some = names[at : at + AT_ONCE]
        yield {name: wanted[name] for name in some}, open_simulated(some, directories.mktemp("bench"))


async def _try(place: Place, case: _Case) -> None:
    for need in case.needs:
        if reason := need(place):
            raise Skipped(reason)
    async with AsyncExitStack() as stack:
        for turn in place.turns:
            await stack.enter_async_context(turn)
        try:
            with trio.fail_after(LIMIT_S):
                for each in (place.near, place.far):
                    await _ready(each)
                await case.test(place)
        except AssertionError as exc:
            if place.near.loss:
                exc.add_note(f"the line was lost last by: {place.near.loss}")
            raise
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + SOON_S):
                for rest in place.rests:
                    await rest()


async def _ready(telephone: Telephone) -> None:
    try:
        await soon(f"{telephone.number} to be ready", telephone.ready(), within_s=READY_S)
    except AssertionError as exc:
        loss = telephone.loss if isinstance(telephone, Station) else ""
        raise NotReady(f"{exc}: {loss}" if loss else str(exc)) from None


def why_not(name: str) -> str:
    """A simulated model cannot be had on this machine; empty: it can."""
    return missing() if name in CARDS else ""


# Those whose sound is a card.
CARDS = {name for name in MODELS if name.endswith("-uac")} | {"sim800", "sim900", "a7672", "generic"}


async def soon(what: str, waited: Awaitable[T], *, within_s: float = SOON_S) -> T:
    with trio.move_on_after(within_s):
        return await waited
    raise AssertionError(f"expected {what} within {within_s:g} s")

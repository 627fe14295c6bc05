"""The simulated network: who is told what, in which order."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.network import (
    TRANSITIONS,
    Alerting,
    Answered,
    Call,
    Cause,
    Event,
    Network,
    NetworkError,
    Offered,
    Pressed,
    Released,
    State,
)


@dataclass
class Ear:
    """A party that only remembers what it was told."""

    number: str
    refusal: Cause | None = None
    heard: list[Event] = field(default_factory=list)

    def refuses(self) -> Cause | None:
        return self.refusal

    def told(self, event: Event) -> None:
        self.heard.append(event)


def pair() -> tuple[Network, Ear, Ear]:
    network, anna, bert = Network(), Ear("+33700000001"), Ear("+33700000002")
    network.join(anna)
    network.join(bert)
    return network, anna, bert


def test_a_call_is_offered_rings_is_answered_and_ends_for_both() -> None:
    network, anna, bert = pair()
    call = Call(anna, bert.number)
    network.dial(call)
    network.ring(call)
    network.answer(call)
    network.press(call, anna, "5")
    network.release(call, Cause.NORMAL)
    assert anna.heard == [Alerting(call), Answered(call), Released(call)]
    assert bert.heard == [Offered(call), Answered(call), Pressed(call, "5"), Released(call)]
    assert call.cause is Cause.NORMAL
    assert network.calls == []


@pytest.mark.parametrize("dialed", ["+33700000002", "0700000002", "0033700000002"])
def test_national_and_international_forms_reach_the_same_phone(dialed: str) -> None:
    network, anna, bert = pair()
    network.dial(Call(anna, dialed))
    assert [type(event) for event in bert.heard] == [Offered]


def test_an_unknown_number_is_unallocated() -> None:
    network, anna, _ = pair()
    call = Call(anna, "+33799999999")
    network.dial(call)
    assert anna.heard == [Released(call)]
    assert call.cause is Cause.UNALLOCATED


def test_a_busy_phone_is_not_offered_the_call() -> None:
    network, anna, bert = pair()
    bert.refusal = Cause.BUSY
    call = Call(anna, bert.number)
    network.dial(call)
    assert bert.heard == []
    assert call.cause is Cause.BUSY


def test_who_calls_himself_finds_himself_busy() -> None:
    network, anna, _ = pair()
    call = Call(anna, anna.number)
    network.dial(call)
    assert call.cause is Cause.BUSY


def test_a_withheld_number_is_not_presented() -> None:
    _, anna, bert = pair()
    open_call, hidden = Call(anna, bert.number), Call(anna, bert.number, withheld=True)
    assert (open_call.presented, hidden.presented) == (anna.number, None)


def test_releases_that_cross_are_told_once_with_the_first_cause() -> None:
    network, anna, bert = pair()
    call = Call(anna, bert.number)
    network.dial(call)
    network.release(call, Cause.REJECTED)
    network.release(call, Cause.NORMAL)
    assert anna.heard == [Released(call)]
    assert call.cause is Cause.REJECTED


def test_the_network_gives_up_only_what_nobody_answered() -> None:
    network, anna, bert = pair()
    rung, talked = Call(anna, bert.number), Call(bert, anna.number)
    for call in (rung, talked):
        network.dial(call)
        network.ring(call)
    network.answer(talked)
    for call in (rung, talked):
        network.give_up(call)
    assert rung.cause is Cause.NO_ANSWER
    assert talked.state is State.ACTIVE


def test_a_party_that_leaves_ends_its_calls_as_out_of_order() -> None:
    network, anna, bert = pair()
    call = Call(anna, bert.number)
    network.dial(call)
    network.leave(bert)
    assert call.cause is Cause.OUT_OF_ORDER
    network.dial(later := Call(anna, bert.number))
    assert later.cause is Cause.UNALLOCATED


def test_keys_reach_nobody_before_the_answer_and_must_be_keys() -> None:
    network, anna, bert = pair()
    call = Call(anna, bert.number)
    network.dial(call)
    network.press(call, anna, "1")
    with pytest.raises(NetworkError, match="no key"):
        network.press(call, anna, "x")
    assert bert.heard == [Offered(call)]


def test_a_number_belongs_to_one_party() -> None:
    network, anna, _ = pair()
    with pytest.raises(NetworkError, match="taken"):
        network.join(Ear(anna.number))


def test_a_party_that_answers_while_it_is_told_keeps_the_order_for_all() -> None:
    network, anna, _ = pair()

    class Eager(Ear):
        def told(self, event: Event) -> None:
            super().told(event)
            if isinstance(event, Offered):
                network.ring(event.call)
                network.answer(event.call)

    seen: list[State] = []
    network.observers.append(lambda _, state: seen.append(state))
    eager = Eager("+33700000003")
    network.join(eager)
    call = Call(anna, eager.number)
    network.dial(call)
    assert anna.heard == [Alerting(call), Answered(call)]
    assert seen == [State.DIALING, State.ALERTING, State.ACTIVE]


@given(st.lists(st.sampled_from(list(State))))
def test_every_step_is_in_the_table_or_refused(steps: list[State]) -> None:
    network, anna, bert = pair()
    call = Call(anna, bert.number)
    network.dial(call)
    acts = {
        State.ALERTING: lambda: network.ring(call),
        State.ACTIVE: lambda: network.answer(call),
        State.DIALING: lambda: network.dial(call),
    }
    for step in steps:
        before = call.state
        if step is State.ENDED:
            network.release(call, Cause.NORMAL)
            assert call.state is State.ENDED
        elif step in TRANSITIONS[before]:
            acts[step]()
            assert call.state is step
        else:
            with pytest.raises(NetworkError):
                acts[step]()
            assert call.state is before

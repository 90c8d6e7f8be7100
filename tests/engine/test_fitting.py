"""Leaving out the oldest turns of a conversation that does not fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.fitting import fitted
from lmtui.engine.types import Message
from tests.fakes import FakeEngine

TURNS = st.lists(st.tuples(st.text("ab", max_size=30), st.text("ab", max_size=30)),
                 min_size=1, max_size=12)  # fmt: skip


def conversation(turns: list[tuple[str, str]], system: bool) -> list[Message]:
    said = [Message("system", "be brief")] if system else []
    for asked, answered in turns:
        said += [Message("user", asked), Message("assistant", answered)]
    return said[:-1]


@given(TURNS, st.booleans(), st.integers(40, 400), st.integers(1, 100))
def test_as_few_turns_as_needed_are_left_out(
    turns: list[tuple[str, str]], system: bool, context: int, answer: int
) -> None:
    engine = FakeEngine(context=context)
    messages = conversation(turns, system)
    prompt, left_out = fitted(engine, messages, answer=answer)
    first = int(system)
    kept = [*messages[:first], *messages[first + left_out :]]
    assert prompt == engine.prompt(kept)
    assert left_out % 2 == 0 and kept[-1] == messages[-1]
    room = context - min(answer, context // 4)
    if len(prompt.ids) > room:
        assert len(kept) == first + 1  # only the last turn is left
    if left_out:
        more = [*messages[:first], *messages[first + left_out - 2 :]]
        assert len(engine.prompt(more).ids) > room


def test_what_fits_stays_whole_and_the_answer_begins_as_asked() -> None:
    engine = FakeEngine()
    messages = [Message("user", "a")]
    prompt, left_out = fitted(engine, messages, prefill="It", answer=10)
    assert (prompt, left_out) == (engine.prompt(messages, prefill="It"), 0)
    assert fitted(engine, [], answer=1)[1] == 0

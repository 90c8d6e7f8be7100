"""The client, as an editor asks it: what is handed over, and in which order."""

from __future__ import annotations

import itertools
from typing import Any

from lmtui.engine.editor_types import (
    ProofreadPart,
)
from lmtui.engine.suggest import suggest
from lmtui.engine.suggestion import Suggestion, SuggestionEnd, SuggestionRules
from lmtui.errors import LmtuiError
from lmtui.tui.engine.batches import longest_text
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.partial_answers import emit_each, proofread_parts
from lmtui.worker.requests import Slot
from tests.fake_writing import FakeWriter
from tests.tui.engine.test_client import TEXT, Gate, running, verbs

RULES = SuggestionRules(seconds=None, min_prob=None)


def predict(client: EngineClient, text: str, cursor: int, **how: Any) -> None:
    client.ask(
        Slot.LOOK, lambda engine, _: engine.document.predict_at(text, cursor), **how
    )


def ghost(
    client: EngineClient, text: str, rules: SuggestionRules, *, grown: Any, **how: Any
) -> None:
    client.ask(
        Slot.SUGGEST,
        lambda engine, context: suggest(
            engine, text, len(text), rules, on_text=context.emit
        ),
        batch=longest_text(grown),
        **how,
    )


def test_prediction_at_the_cursor_is_reported() -> None:
    with running(FakeWriter()) as (answers, client):
        predict(client, TEXT, 4, **answers.of("prediction"))
        prediction = answers.wait("prediction then")
    assert prediction.window == (0, 4)
    following = prediction.following
    assert following is not None and following.candidate.text == "c"


def test_suggestion_only_grows_until_its_end() -> None:
    with running(FakeWriter([" on the mat."])) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        ended = answers.wait("ghost then")
    assert ended == Suggestion(" on the mat.", SuggestionEnd.STOP)
    grown = answers.values("ghost grown")
    assert len(grown) > 1
    assert all(b.startswith(a) for a, b in itertools.pairwise(grown))
    assert ended.text.startswith(grown[-1])
    assert answers.names() == [*["ghost grown"] * len(grown), "ghost then"]


def test_end_token_gives_an_empty_suggestion() -> None:
    with running(FakeWriter([""])) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        assert answers.wait("ghost then") == Suggestion("", SuggestionEnd.STOP)


def test_suggestion_waits_for_both_halves_of_a_character() -> None:
    script = [b" ", "é".encode()[:1], "é".encode()[1:], b"t", b"."]
    with running(FakeWriter([script])) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        assert answers.wait("ghost then").text == " ét."


def test_suggestion_stops_at_max_tokens() -> None:
    rules = SuggestionRules(max_tokens=2, seconds=None, min_prob=None)
    with running(FakeWriter([" one two three four"])) as (answers, client):
        ghost(client, TEXT, rules, **answers.of("ghost", "grown"))
        assert answers.wait("ghost then") == Suggestion(" one", SuggestionEnd.LENGTH)


def test_a_stopped_suggestion_is_dropped_within_a_token() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the mat and more"], on_token=gate)
    with running(engine) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        gate.wait()
        assert client.stop(Slot.SUGGEST)
        assert client.is_pending(Slot.SUGGEST)
        gate.open()
        while client.is_pending(Slot.SUGGEST):
            answers.call_next()
    assert answers.ends() == []
    assert answers.values("ghost grown") == [" on"]


def test_prediction_precedes_suggestions_and_the_newest_one_wins() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the", " mat."], on_token=gate)
    with running(engine) as (answers, client):
        older = client.another()
        ghost(older, TEXT, RULES, **answers.of("older", "grown"))
        gate.wait()
        longer = TEXT + " on the"
        predict(client, longer, len(longer), **answers.of("prediction"))
        ghost(client, longer, RULES, **answers.of("newer", "grown"))
        gate.open()
        ended = answers.wait("newer then")
    assert not older.is_pending(Slot.SUGGEST)
    assert answers.ends() == ["prediction then", "newer then"]
    assert ended.text == " mat."


def test_newer_suggestion_takes_the_place_of_the_one_that_runs() -> None:
    gate, longer = Gate(at=2), TEXT + "!"
    engine = FakeWriter([" on the", " mat."], on_token=gate)
    with running(engine) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("older", "grown"))
        gate.wait()
        ghost(client, longer, RULES, **answers.of("newer", "grown"))
        gate.open()
        assert answers.wait("newer then").text == " mat."
    assert {name.split()[0] for name in answers.names()} == {"newer"}


def test_suggestion_resumes_after_giving_way_to_a_prediction() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the mat."], on_token=gate)
    with running(engine) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        gate.wait()
        predict(client, TEXT, 3, **answers.of("prediction"))
        gate.open()
        ended = answers.wait("ghost then")
    assert answers.ends() == ["prediction then", "ghost then"]
    assert ended.text == " on the mat."
    assert verbs(engine).count("go_on") == 2


def test_interrupted_suggestion_still_only_grows() -> None:
    gate, whole = Gate(at=4), " on the mat and more."
    engine = FakeWriter([whole], on_token=gate)
    with running(engine) as (answers, client):
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        gate.wait()
        answers.drain()
        before = answers.values("ghost grown")
        predict(client, TEXT, 3, **answers.of("prediction"))
        gate.open()
        assert answers.wait("ghost then").text == whole
    assert verbs(engine).count("go_on") == 2
    assert before == [" on", " on the", " on the mat"]
    assert answers.names()[len(before)] == "prediction then"
    grown = answers.values("ghost grown")
    assert len(grown) > len(before)
    for shorter, longer in itertools.pairwise(grown):
        assert longer.startswith(shorter) and len(longer) > len(shorter)


def test_span_scores_give_way_to_a_prediction_and_cover_the_span() -> None:
    gate = Gate(at=9)
    engine = FakeWriter(on_token=gate)
    with running(engine) as (answers, client):
        run = emit_each(lambda engine: engine.document.score_span(TEXT, 4, 11))
        client.ask(Slot.SPAN, run, **answers.of("span", "batch"))
        gate.wait()
        predict(client, TEXT, 3, **answers.of("prediction"))
        gate.open()
        answers.wait("span then")
    names = answers.names()
    assert names.index("prediction then") < names.index("span batch")
    tokens = [
        t
        for parts in answers.values("span batch")
        for part in parts
        for t in part.tokens
    ]
    assert "".join(token.text for token in tokens) == TEXT[4:]


def test_interrupted_proofreading_goes_on_after_the_last_part() -> None:
    parts = [ProofreadPart(end, 1, ()) for end in (4, 8, len(TEXT))]
    gate = Gate(at=1)
    with running(FakeWriter(parts=parts, on_token=gate)) as (answers, client):
        run = proofread_parts(TEXT, 0, len(TEXT))
        client.ask(Slot.REPLACE, run, **answers.of("it", "batch"))
        gate.wait()
        predict(client, TEXT, 3, **answers.of("prediction"))
        gate.open()
        answers.wait("it then")
    assert answers.values("it batch") == [(part,) for part in parts]
    names = answers.names()
    assert names.index("prediction then") < names.index("it then")


def test_failure_is_reported_for_the_request_that_asked() -> None:
    error = LmtuiError("no", "it fails", "do not")
    with running(FakeWriter(error=error)) as (answers, client):
        predict(client, TEXT, 2, **answers.of("prediction"))
        ghost(client, TEXT, RULES, **answers.of("ghost", "grown"))
        run = emit_each(lambda engine: engine.document.score_span(TEXT, 0, 2))
        client.ask(Slot.SPAN, run, **answers.of("span"))
        for name in ("prediction", "ghost", "span"):
            assert answers.wait(f"{name} failed").title == "no"
        assert not client.pending()
    assert len(answers.names()) == 3

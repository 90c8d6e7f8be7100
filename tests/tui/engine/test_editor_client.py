"""The client, as an editor asks it: sequences of messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from lmtui.engine.suggestion import Suggestion, SuggestionEnd, SuggestionRules
from lmtui.engine.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.tui.engine.message_client import EngineClient, load
from lmtui.tui.engine.messages import (
    AlternativesReady,
    EditorRequestFailed,
    JobDropped,
    ModelLoaded,
    PredictionFailed,
    PredictionReady,
    ReplacementsReady,
    SpanFinished,
    SpanScored,
    SuggestionEnded,
    SuggestionGrew,
)
from lmtui.worker.worker import EngineWorker
from tests.fake_writing import FakeWriter
from tests.tui.engine.test_client import SECONDS, Gate, Screen, running_clock, verbs

TEXT = "the cat sat"
RULES = SuggestionRules(seconds=None, min_mean_prob=None, min_prob=None)


@contextmanager
def writing(engine: FakeWriter) -> Iterator[tuple[Screen, EngineClient]]:
    """A screen's client over a scripted engine."""
    screen = Screen()
    program = EngineWorker(running_clock())
    try:
        load(program, lambda _: engine, screen.post)
        screen.wait(ModelLoaded)
        yield screen, EngineClient(program, screen.post)
    finally:
        assert program.close(SECONDS)


def test_prediction_names_its_revision() -> None:
    engine = FakeWriter()
    with writing(engine) as (screen, client):
        client.predict_at(7, TEXT, 4)
        ready = screen.wait(PredictionReady)
    assert ready.revision == 7
    assert ready.prediction.window == (0, 4)
    following = ready.prediction.following
    assert following is not None and following.candidate.text == "c"


def test_suggestion_only_grows_until_its_end() -> None:
    with writing(FakeWriter([" on the mat."])) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        ended = screen.wait(SuggestionEnded)
    assert ended.suggestion == Suggestion(" on the mat.", SuggestionEnd.STOP)
    grown = [report.text for report in screen.all(SuggestionGrew)]
    assert len(grown) > 1
    assert all(b.startswith(a) for a, b in itertools.pairwise(grown))
    assert ended.suggestion.text.startswith(grown[-1])


def test_end_token_gives_an_empty_suggestion() -> None:
    with writing(FakeWriter([""])) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        assert screen.wait(SuggestionEnded).suggestion == Suggestion(
            "", SuggestionEnd.STOP
        )


def test_suggestion_waits_for_both_halves_of_a_character() -> None:
    script = [b" ", "é".encode()[:1], "é".encode()[1:], b"t", b"."]
    with writing(FakeWriter([script])) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        assert screen.wait(SuggestionEnded).suggestion.text == " ét."


def test_suggestion_stops_at_max_tokens() -> None:
    rules = SuggestionRules(
        max_tokens=2, seconds=None, min_mean_prob=None, min_prob=None
    )
    with writing(FakeWriter([" one two three four"])) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), rules)
        assert screen.wait(SuggestionEnded).suggestion == Suggestion(
            " one", SuggestionEnd.LENGTH
        )


def test_a_stopped_suggestion_is_dropped_within_a_token() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the mat and more"], on_token=gate)
    with writing(engine) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        client.stop(1)
        gate.open()
        assert screen.wait(JobDropped).job == 1
    assert not screen.all(SuggestionEnded)


def test_prediction_precedes_suggestions_and_the_newest_one_wins() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the", " on a mat", " mat."], on_token=gate)
    with writing(engine) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        longer = TEXT + " on the"
        client.predict_at(2, longer, len(longer))
        client.suggest(3, longer, len(longer), RULES)
        gate.open()
        ended = screen.wait(SuggestionEnded)
    assert [dropped.job for dropped in screen.all(JobDropped)] == [1]
    assert ended.job == 3
    kinds = screen.kinds()
    assert kinds.index("PredictionReady") < kinds.index("SuggestionEnded")


def test_suggestion_resumes_after_giving_way_to_a_prediction() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the", " on the mat."], on_token=gate)
    with writing(engine) as (screen, client):
        client.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        client.predict_at(2, TEXT, 3)
        gate.open()
        ended = screen.wait(SuggestionEnded)
    assert (ended.job, ended.suggestion.text) == (1, " on the mat.")
    assert verbs(engine).count("go_on") == 2


def test_span_scores_give_way_to_a_prediction_and_cover_the_span() -> None:
    gate = Gate(at=9)
    engine = FakeWriter(on_token=gate)
    with writing(engine) as (screen, client):
        client.score_span(1, TEXT, 4, 11)
        gate.wait()
        client.predict_at(2, TEXT, 3)
        gate.open()
        screen.wait(SpanFinished)
    kinds = screen.kinds()
    assert kinds.index("PredictionReady") < kinds.index("SpanScored")
    tokens = [t for part in screen.all(SpanScored) for t in part.span.tokens]
    assert "".join(token.text for token in tokens) == TEXT[4:]


def test_alternatives_and_replacements_are_reported() -> None:
    ghosts = [
        Suggestion(" on", SuggestionEnd.STOP),
        Suggestion(" by", SuggestionEnd.STOP),
    ]
    words = [Replacement("dog", -1.0, " sat", 0.5)]
    with writing(FakeWriter(others=ghosts, words=words)) as (screen, client):
        client.alternatives(1, TEXT, len(TEXT), RULES)
        assert screen.wait(AlternativesReady).suggestions == tuple(ghosts)
        client.replacements(2, TEXT, 4, 7)
        assert screen.wait(ReplacementsReady).replacements == tuple(words)


def test_failure_is_reported_for_the_job_that_asked() -> None:
    error = LmtuiError("no", "it fails", "do not")
    with writing(FakeWriter(error=error)) as (screen, client):
        client.predict_at(1, TEXT, 2)
        assert screen.wait(PredictionFailed).error.title == "no"
        for job, ask in enumerate(
            (
                lambda job: client.suggest(job, TEXT, 2, RULES),
                lambda job: client.alternatives(job, TEXT, 2, RULES),
                lambda job: client.score_span(job, TEXT, 0, 2),
                lambda job: client.replacements(job, TEXT, 0, 2),
            ),
            start=1,
        ):
            ask(job)
            failed = screen.wait(EditorRequestFailed, job)
            assert (failed.job, failed.error.title) == (job, "no")

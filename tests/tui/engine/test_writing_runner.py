"""The engine thread, as an editor sees it: sequences of messages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from lmtui.engine.suggestion import Suggestion, SuggestionEnd, SuggestionRules
from lmtui.engine.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.tui.engine.messages import JobDropped, ModelLoaded
from lmtui.tui.engine.runner import EngineRunner
from lmtui.tui.engine.writing_facts import (
    AlternativesReady,
    ExpectationFailed,
    ExpectationReady,
    GhostEnded,
    GhostGrew,
    HeatArrived,
    HeatFinished,
    ReplacementsReady,
    WritingFailed,
)
from lmtui.tui.engine.writing_runner import WritingRunner
from tests.fake_writing import FakeWriter
from tests.tui.engine.test_runner import SECONDS, Gate, Screen, running_clock, verbs

TEXT = "the cat sat"
RULES = SuggestionRules(seconds=None, min_mean_prob=None, min_prob=None)


@contextmanager
def writing(engine: FakeWriter) -> Iterator[tuple[Screen, WritingRunner]]:
    """A screen's runner over a scripted engine."""
    screen = Screen()
    program = EngineRunner(screen.post, running_clock())
    try:
        program.load(lambda _: engine)
        screen.wait(ModelLoaded)
        yield screen, program.for_writing(screen.post)
    finally:
        assert program.close(SECONDS)


def test_an_expectation_names_its_revision() -> None:
    engine = FakeWriter()
    with writing(engine) as (screen, runner):
        runner.predict_at(7, TEXT, 4)
        ready = screen.wait(ExpectationReady)
    assert ready.revision == 7
    assert ready.expectation.window == (0, 4)
    following = ready.expectation.following
    assert following is not None and following.candidate.text == "c"


def test_a_suggestion_only_grows_and_ends_with_itself() -> None:
    with writing(FakeWriter([" on the mat."])) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        ended = screen.wait(GhostEnded)
    assert ended.ghost == Suggestion(" on the mat.", SuggestionEnd.STOP)
    grown = [report.text for report in screen.all(GhostGrew)]
    assert len(grown) > 1
    assert all(b.startswith(a) for a, b in itertools.pairwise(grown))
    assert ended.ghost.text.startswith(grown[-1])


def test_an_end_token_is_no_text() -> None:
    with writing(FakeWriter([""])) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        assert screen.wait(GhostEnded).ghost == Suggestion("", SuggestionEnd.STOP)


def test_half_a_character_waits_for_the_other() -> None:
    script = [b" ", "é".encode()[:1], "é".encode()[1:], b"t", b"."]
    with writing(FakeWriter([script])) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        assert screen.wait(GhostEnded).ghost.text == " ét."


def test_a_suggestion_stops_at_its_length() -> None:
    rules = SuggestionRules(
        max_tokens=2, seconds=None, min_mean_prob=None, min_prob=None
    )
    with writing(FakeWriter([" one two three four"])) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), rules)
        assert screen.wait(GhostEnded).ghost == Suggestion(" one", SuggestionEnd.LENGTH)


def test_a_stopped_suggestion_is_dropped_within_a_token() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the mat and more"], on_token=gate)
    with writing(engine) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        runner.stop(1)
        gate.open()
        assert screen.wait(JobDropped).job == 1
    assert not screen.all(GhostEnded)


def test_a_keystroke_goes_before_a_suggestion_and_the_newest_suggestion_wins() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the", " on a mat", " mat."], on_token=gate)
    with writing(engine) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        longer = TEXT + " on the"
        runner.predict_at(2, longer, len(longer))
        runner.suggest(3, longer, len(longer), RULES)
        gate.open()
        ended = screen.wait(GhostEnded)
    assert [dropped.job for dropped in screen.all(JobDropped)] == [1]
    assert ended.job == 3
    kinds = screen.kinds()
    assert kinds.index("ExpectationReady") < kinds.index("GhostEnded")


def test_a_suggestion_that_gave_way_comes_back() -> None:
    gate = Gate(at=2)
    engine = FakeWriter([" on the", " on the mat."], on_token=gate)
    with writing(engine) as (screen, runner):
        runner.suggest(1, TEXT, len(TEXT), RULES)
        gate.wait()
        runner.predict_at(2, TEXT, 3)
        gate.open()
        ended = screen.wait(GhostEnded)
    assert (ended.job, ended.ghost.text) == (1, " on the mat.")
    assert verbs(engine).count("go_on") == 2


def test_heat_comes_in_parts_and_gives_way_to_a_keystroke() -> None:
    gate = Gate(at=9)
    engine = FakeWriter(on_token=gate)
    with writing(engine) as (screen, runner):
        runner.score_span(1, TEXT, 4, 11)
        gate.wait()
        runner.predict_at(2, TEXT, 3)
        gate.open()
        screen.wait(HeatFinished)
    kinds = screen.kinds()
    assert kinds.index("ExpectationReady") < kinds.index("HeatArrived")
    tokens = [t for part in screen.all(HeatArrived) for t in part.stretch.tokens]
    assert "".join(token.text for token in tokens) == TEXT[4:]


def test_alternatives_and_replacements_are_told() -> None:
    ghosts = [
        Suggestion(" on", SuggestionEnd.STOP),
        Suggestion(" by", SuggestionEnd.STOP),
    ]
    words = [Replacement("dog", -1.0, " sat", 0.5)]
    with writing(FakeWriter(others=ghosts, words=words)) as (screen, runner):
        runner.alternatives(1, TEXT, len(TEXT), RULES)
        assert screen.wait(AlternativesReady).ghosts == tuple(ghosts)
        runner.replacements(2, TEXT, 4, 7)
        assert screen.wait(ReplacementsReady).replacements == tuple(words)


def test_a_failure_is_told_to_whoever_asked() -> None:
    error = LmtuiError("no", "it fails", "do not")
    with writing(FakeWriter(error=error)) as (screen, runner):
        runner.predict_at(1, TEXT, 2)
        assert screen.wait(ExpectationFailed).error.title == "no"
        for job, ask in enumerate(
            (
                lambda job: runner.suggest(job, TEXT, 2, RULES),
                lambda job: runner.alternatives(job, TEXT, 2, RULES),
                lambda job: runner.score_span(job, TEXT, 0, 2),
                lambda job: runner.replacements(job, TEXT, 0, 2),
            ),
            start=1,
        ):
            ask(job)
            failed = screen.wait(WritingFailed, job)
            assert (failed.job, failed.error.title) == (job, "no")

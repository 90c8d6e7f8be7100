"""Proofreading: every gain is the difference of two whole scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import count

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.engine.document import proofreader
from lmtui.engine.document.types import Correction, ProofreadPart, corrected
from lmtui.engine.document.typos import EditKind
from lmtui.engine.engine import LocalEngine
from lmtui.errors import Cancelled, LmtuiError
from tests.engine import tiny

TEXT = (
    "the cat sat on the the mat and teh dog on sat the log\n"
    "The quick brwn fox jumps over the lazy dog of the log"
)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """An engine that reports whatever gains."""
    monkeypatch.setattr(proofreader, "COSTS", dict.fromkeys(EditKind, 0.0))
    return tiny.engine()


@cache
def parts_of_the_whole() -> list[ProofreadPart]:
    return list(tiny.engine().document.proofread(TEXT, 0, len(TEXT)))


def found(
    engine: LocalEngine,
    start: int,
    end: int = len(TEXT),
    known: Sequence[Correction] = (),
) -> list[Correction]:
    return corrections(list(engine.document.proofread(TEXT, start, end, known)))


def corrections(parts: list[ProofreadPart]) -> list[Correction]:
    return [each for part in parts for each in part.corrections]


def log_prob(engine: LocalEngine, text: str) -> float:
    """Sum of the logprobs of a text."""
    ids = engine.encode(text).ids
    return math.fsum(token.logprob or 0.0 for token in engine.score(ids))


def test_gain_is_that_of_the_text_with_the_corrections_before(
    eager: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofreader, "_FOLLOWING", 64)  # to the end of the text
    made = found(eager, 0)
    assert len({each.kind for each in made}) > 1
    for index, each in enumerate(made):
        before = log_prob(eager, corrected(TEXT, made[:index]))
        after = log_prob(eager, corrected(TEXT, made[: index + 1]))
        if each.start > 0:  # the first token of a text has no probability
            assert each.gain == pytest.approx(after - before, abs=1e-2)
        assert each.gain > 0
        assert each.text != TEXT[each.start : each.end]


def test_parts_follow_each_other_and_corrections_do_not_overlap() -> None:
    parts, at = parts_of_the_whole(), 0
    ends = [part.end for part in parts]
    assert ends == sorted(ends) and ends[-1] == len(TEXT)
    for each in corrections(parts):
        assert at <= each.start < each.end
        at = each.end


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_rest_can_be_read_from_the_end_of_any_part(
    share: float, eager: LocalEngine
) -> None:
    parts = parts_of_the_whole()
    count = 1 + int(share * (len(parts) - 1))
    before = corrections(parts[:count])
    read = [*before, *found(eager, parts[count - 1].end, known=before)]
    same = [(each.start, each.end, each.text) for each in corrections(parts)]
    assert [(each.start, each.end, each.text) for each in read] == same


def test_part_of_a_text_is_proofread_alone(eager: LocalEngine) -> None:
    start, end = TEXT.index("and"), TEXT.index("The")
    part = found(eager, start, end)
    assert part
    assert all(start <= each.start and each.end <= end for each in part)


def test_slips_cost_more_than_chance_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofreader, "COSTS", dict.fromkeys(EditKind, 1e6))
    assert found(tiny.engine(), 0) == []


@pytest.mark.parametrize("text", ["", "   \n", "42", "word"])
def test_text_without_neighbours_is_read(text: str, eager: LocalEngine) -> None:
    (part,) = eager.document.proofread(text, 0, len(text))
    assert (part.end, part.corrections) == (len(text), ())


@pytest.mark.parametrize("patience", [0, 5, 60])
def test_proofreading_can_be_cancelled(eager: LocalEngine, patience: int) -> None:
    asked = count()
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked) >= patience):
        list(eager.document.proofread(TEXT, 0, len(TEXT)))


@pytest.mark.parametrize(
    "quoted",
    [
        '"{}"', "“{}”", "‘{}’", "'{}'", "`{}`", "```\n{}\n```", "“a {}\nb”", "{}(8)",
        "{} (8)", "{}-{}", "--{}", "https://a.org/{}", "src/{}.py", "x_{}",
    ],
)  # fmt: skip
def test_nothing_is_found_in_quotations_and_code(
    quoted: str, eager: LocalEngine
) -> None:
    words = "the cat sat on the mat and the dog sat on the log "
    text = words + quoted.replace("{}", "brwn") + " and the dog jumps\n" + words
    start = text.index("brwn")
    parts = list(eager.document.proofread(text, 0, len(text)))
    assert parts[-1].end == len(text)
    for each in corrections(parts):
        assert each.end <= start or text.find("brwn", each.start) < 0


def test_text_in_another_language_is_not_read(eager: LocalEngine) -> None:
    german = "Der alte Turm steht am Hafen, und sein Licht wurde gelöscht."
    with pytest.raises(LmtuiError, match="not English"):
        next(eager.document.proofread(german, 0, len(german)))

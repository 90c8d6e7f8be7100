"""Proofreading: every gain is the difference of two whole scores."""

from __future__ import annotations

import math
from functools import cache
from itertools import count

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.engine.document import proofreader
from lmtui.engine.document.types import Correction, ProofreadPart
from lmtui.engine.document.typos import EditKind
from lmtui.engine.engine import LocalEngine
from lmtui.errors import Cancelled
from tests.engine import tiny

TEXT = (
    "the cat sat on the the mat and teh dog on sat the log\n"
    "The quick brwn fox jumps over the lazy dog of the log"
)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """An engine that looks at every word and reports whatever gains."""
    monkeypatch.setattr(proofreader, "COSTS", dict.fromkeys(EditKind, 0.0))
    monkeypatch.setattr(proofreader, "SURPRISING", 0.0)
    return tiny.engine()


@cache
def parts_of_the_whole() -> list[ProofreadPart]:
    return list(tiny.engine().document.proofread(TEXT, 0, len(TEXT)))


def found(engine: LocalEngine, start: int, end: int = len(TEXT)) -> list[Correction]:
    return corrections(list(engine.document.proofread(TEXT, start, end)))


def corrections(parts: list[ProofreadPart]) -> list[Correction]:
    return [each for part in parts for each in part.corrections]


def log_prob(engine: LocalEngine, text: str, tokens: int) -> float:
    """Sum of the logprobs of the first tokens of a text."""
    ids = engine.encode(text).ids[:tokens]
    return math.fsum(token.logprob or 0.0 for token in engine.score(ids))


def test_gain_is_that_of_the_whole_text(eager: LocalEngine) -> None:
    found = corrections(parts_of_the_whole())
    assert len({each.kind for each in found}) > 1
    for each in found:
        changed = TEXT[: each.start] + each.text + TEXT[each.end :]
        # Up to 24 tokens after both words are scored, the same in both texts.
        tail = len(eager.encode(TEXT).ids)
        gains = log_prob(eager, changed, 10**6) - log_prob(eager, TEXT, tail)
        if each.start > len(TEXT) - 40:
            assert each.gain == pytest.approx(gains, abs=1e-2)
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
    read = [*corrections(parts[:count]), *found(eager, parts[count - 1].end)]
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
    assert part.words == len(text.split())


@pytest.mark.parametrize("patience", [0, 5, 60])
def test_proofreading_can_be_cancelled(eager: LocalEngine, patience: int) -> None:
    asked = count()
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked) >= patience):
        list(eager.document.proofread(TEXT, 0, len(TEXT)))

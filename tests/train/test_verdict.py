"""The figures and the verdict: arithmetic and rules, no model."""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.types import Prompt
from lmtui.records import built, plain
from lmtui.train.evaluate import Baseline
from lmtui.train.metrics import (
    Answers,
    DocumentScore,
    LossTotals,
    Memorized,
    together,
)
from lmtui.train.report import (
    Report,
    compare,
    to_lines,
    to_markdown,
)
from lmtui.train.verdict import WORD_FOR_WORD, judge

HOSTILE = "a|b`c``d\n# e \x1b]0;owned\x07 <b> ‮ [x](y)"


def scored(path: str, *logprobs: float) -> DocumentScore:
    return DocumentScore(
        path=path,
        tokens=len(logprobs),
        bytes=4 * len(logprobs),
        nll=-sum(logprobs),
        logprobs=(None, *logprobs),
    )


def many(
    shift: float, *, documents: int = 12, spread: float = 0.0
) -> list[DocumentScore]:
    """Documents whose losses are `shift` from those of `many(0)`, more or less."""
    chance = random.Random(1)
    return [
        scored(f"{n}.md", *[-3.0 - shift - spread * chance.uniform(-1, 1)] * 10)
        for n in range(documents)
    ]


def figures(loss: float) -> LossTotals:
    return LossTotals(loss, math.exp(loss), loss, tokens=100, bytes=400)


def report(
    before: list[DocumentScore],
    after: list[DocumentScore],
    *,
    text: str = "plain",
    recalled: int = 3,
) -> Report:
    found = Memorized(recalled, recalled, text, text) if recalled else None
    answers = [
        Answers(tuple(scores), scored("neutral", -2.0), (text,), found)
        for scores in (before, after)
    ]
    return compare(
        *answers,
        name=text,
        base=text,
        method="lora",
        steps=10,
        best_step=5,
        prompts=[Prompt((1,), text)],
        quote=lambda document, place: (f"{text} {document}", f"{place}"),
    )


@given(st.lists(st.lists(st.floats(-20, -0.01), max_size=5), min_size=1, max_size=5))
def test_together_weighs_every_token_the_same(documents: list[list[float]]) -> None:
    scores = [scored(str(n), *logprobs) for n, logprobs in enumerate(documents)]
    all_of_them = [logprob for logprobs in documents for logprob in logprobs]
    found = together(scores)
    if not all_of_them:
        assert found is None
        return
    assert found is not None
    assert found.loss == pytest.approx(-math.fsum(all_of_them) / len(all_of_them))
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    in_bits = -math.fsum(all_of_them) / math.log(2)
    assert found.bits_per_byte == pytest.approx(in_bits / (4 * len(all_of_them)))


@pytest.mark.parametrize(
    ("after", "change"),
    [
        (many(0), "unclear"),
        (many(-0.3), "better"),
        (many(0.3), "worse"),
        (many(-0.001, spread=0.5), "unclear"),
        (many(-0.5, spread=0.2), "better"),
        ([], "unknown"),
    ],
)
def test_judge_tells_progress_from_chance(
    after: list[DocumentScore], change: str
) -> None:
    before = many(0)[: len(after)]
    assert judge(before, after, None, None).notes == change


@pytest.mark.parametrize(
    ("shift", "change"), [(-0.01, "unclear"), (-0.02, "better"), (0.02, "worse")]
)
def test_judge_of_few_documents_needs_a_margin(shift: float, change: str) -> None:
    before, after = (many(by, documents=2) for by in (0, shift))
    verdict = judge(before, after, None, None)
    assert verdict.notes == change
    assert "0.0150" in verdict.because  # half a percent of 3


@pytest.mark.parametrize(
    ("loss", "elsewhere"),
    [
        (2.0, "unchanged"),
        (2.015, "unchanged"),
        (2.06, "slightly worse"),
        (2.2, "clearly worse"),
        (1.8, "better"),
    ],
)
def test_verdict_names_forgetting_elsewhere(loss: float, elsewhere: str) -> None:
    verdict = judge(many(0), many(-0.3), figures(2.0), figures(loss))
    assert verdict.elsewhere == elsewhere
    assert (
        verdict.sentence
        == f"Better on the 12 held-out documents, {elsewhere} elsewhere."
    )


def test_verdict_advises_against_worse_weights() -> None:
    verdict = judge(many(0), many(1), figures(2.0), figures(1.0))
    assert verdict.sentence == "Worse on the 12 held-out documents: do not use."


def test_verdict_on_one_document_says_that_it_is_one() -> None:
    before, after = (many(by, documents=1) for by in (0, -0.3))
    sentence = judge(before, after, figures(2.0), figures(2.0)).sentence
    assert sentence == "Better on the one held-out document, unchanged elsewhere."


def test_report_lists_the_largest_gains_first() -> None:
    before = [scored("a", -5.0, -1.0, -3.0), scored("b", -2.0)]
    after = [scored("a", -1.0, -4.0, -3.0), scored("b", -1.5)]
    made = report(before, after)
    assert [(t.path, t.text) for t in made.gained] == [("a", "1"), ("b", "1")]
    assert [(t.path, t.text) for t in made.lost] == [("a", "2")]
    assert made.gained[0].bits_before == pytest.approx(5 / math.log(2))
    assert made.gained[0].bits_after == pytest.approx(1 / math.log(2))
    assert [d.path for d in made.documents] == ["b", "a"]


def test_baseline_survives_json_as_written_by_earlier_versions() -> None:
    answers = Answers(
        (scored("a", -1.0, -2.0),), scored("n", -1.0), ("x",), Memorized(1, 2, "p", "t")
    )
    baseline = Baseline(("0" * 64,), (Prompt((1, 2), "a b"),), answers)
    earlier = {
        "sha256": ["0" * 64],
        "prompts": [{"ids": [1, 2], "text": "a b"}],
        "answers": asdict(answers),
    }
    for text in (json.dumps(earlier), json.dumps(plain(baseline))):
        assert built(Baseline, json.loads(text)) == baseline
    with pytest.raises(ValueError, match="sha256: Field required"):
        built(Baseline, {"answers": 3})


def test_report_escapes_hostile_text() -> None:
    made = report(many(0), many(-0.3), text=HOSTILE)
    text = to_markdown(made)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    for line in text.splitlines():
        if line.startswith("|"):
            cells = re.findall(r"(?<!\\)\|", line)
            assert len(cells) in (4, 5, 6), line
    assert "\n# e" not in text
    assert all("\n" not in line and "\x1b" not in line for line in to_lines(made))


def test_report_json_has_no_nan_or_infinity() -> None:
    made = report([scored("a")], [scored("a")], recalled=0)
    found = json.loads(json.dumps(plain(made)), parse_constant=pytest.fail)
    assert found["before"] is None
    assert found["verdict"]["notes"] == "unknown"
    assert "Nothing was held out" in to_markdown(made)


def test_report_json_is_read_back() -> None:
    made = report(many(0), many(-0.3), text=HOSTILE)
    assert built(Report, plain(made)) == made
    for broken in ([], {}, {**plain(made), "before": {"loss": "x"}}):
        with pytest.raises(ValueError):
            built(Report, broken)


def test_report_warns_of_text_known_by_heart() -> None:
    calm, loud = (report(many(0), many(0), recalled=WORD_FOR_WORD + n) for n in (-1, 0))
    assert len(calm.warnings) == 1
    assert "stayed on this machine" in calm.warnings[0]
    assert f"{WORD_FOR_WORD} tokens" in loud.warnings[0]

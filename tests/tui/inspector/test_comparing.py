"""Two models on one text: where they differ is seen, told and gone to."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import exp
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation
from lmtui.engine.types import BosRule, Encoding
from lmtui.models.source import ModelRef
from lmtui.notation import LN2
from lmtui.surprisal_scale import DIFFERENCES, difference_step, legend
from lmtui.text import visible_token
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.text_totals import TextTotals
from tests.fake_numbers import state_after
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting, inspecting
from tests.tui.programs import assert_laid_out

TEXT = "the cat sat on the mat"


@dataclass
class Pairs(FakeEngine):
    """Another model whose tokens are two characters wide, where ours are one."""

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        ids = tuple(range(1, 1 + len(text[::2])))
        spans = tuple((i, min(i + 2, len(text))) for i in range(0, len(text), 2))
        return Encoding(ids, spans, ())


@dataclass
class Begun(FakeEngine):
    """A model that puts a BOS token before a text, or none."""

    bos: bool = False

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        encoding = super().encode(text, bos=bos)
        return replace(encoding, prefix=(0,) if self.bos else ())


def bits_of(text: str) -> list[float]:
    """What the other model expected more of each token, the slow way."""
    own = FakeEngine().score(text.encode())
    other = FakeEngine(seed=5).score(text.encode())
    pairs = list(zip(own, other, strict=True))[1:]
    return [(b.logprob - a.logprob) / LN2 for a, b in pairs]  # type: ignore[operator]


def numbers_of_the_other(page: Inspecting) -> list[str]:
    """The numbers on the other model's line below the text."""
    lines = page.running.seen.splitlines()
    line = next(line for line in lines if line.strip().startswith("other model "))
    shown = line.split("│")[0].split("▏")[0].strip()
    return shown.split(" · ")[1:]


async def compared(page: Inspecting) -> None:
    await page.until(lambda: page.state.startswith("compared with"))


@given(bits=st.floats(-40, 40))
def test_the_steps_of_difference_are_symmetric(bits: float) -> None:
    if bits not in (*DIFFERENCES, *(-bound for bound in DIFFERENCES)):
        assert difference_step(bits) == -difference_step(-bits)
    assert abs(difference_step(bits)) <= 3
    assert difference_step(None) == difference_step(float("nan")) == 0
    assert len(legend("difference")) == 7


async def test_comparison_shows_differences_and_the_other_models_panel() -> None:
    other = FakeEngine(name="other", seed=5)
    async with inspecting(TEXT, against=other, size=(80, 24)) as page:
        await compared(page)
        bits = bits_of(TEXT)
        assert page.view.differences[0] is None
        assert page.view.differences[1:] == pytest.approx(bits)
        await page.until(lambda: "difference" in page.running.seen)
        seen = page.running.seen
        most = max(bits, key=abs)
        assert TEXT in seen  # colours say the rest
        await page.to(1 + bits.index(most))
        told = page.screen.compare.panel.distribution
        assert told is not None
        top = list(other.score(TEXT.encode(), top_n=20))[1 + bits.index(most)].top
        assert [(row.id, row.logprob) for row in told.candidates] == [
            (row.id, row.logprob) for row in top
        ]
        assert page.screen.compare.panel.title == "other"
        token = list(other.score(TEXT.encode()))[1 + bits.index(most)]
        assert token.logprob is not None
        assert numbers_of_the_other(page) == [
            f"{notation.surprisal(token.logprob)} bits",
            f"p {notation.chance(exp(token.logprob))}",
            f"rank {token.rank}",
        ]
        parts = page.screen.query_one(TextTotals).parts
        assert [part.name for part in parts] == ["this", "other"]
        assert (parts[1].logprob - parts[0].logprob) / LN2 == (pytest.approx(sum(bits)))
        assert_laid_out(page.screen)
        await page.press("m")
        await page.until(lambda: "surprisal" in page.running.seen)


async def test_line_of_the_other_model_has_its_numbers_alone() -> None:
    other = FakeEngine(name="other", seed=5)
    async with inspecting(TEXT, against=other, size=(140, 30)) as page:
        await compared(page)
        for place, token in enumerate(other.score(TEXT.encode())):
            if token.logprob is None:
                continue
            await page.to(place)
            difference = notation.difference(bits_of(TEXT)[place - 1])
            expected = [
                f"log P {notation.log_prob(token.logprob)} nats",
                f"{notation.surprisal(token.logprob)} bits",
                f"p {notation.chance(exp(token.logprob))}",
                f"rank {token.rank}",
                f"difference {difference} bits",
            ]
            await page.until(
                lambda expected=expected: numbers_of_the_other(page) == expected
            )
            own = next(
                line for line in page.running.seen.splitlines() if "Σ to" in line
            )
            assert "other" not in own and "difference" not in own


@pytest.mark.parametrize("begun", ["own", "other", ""])
async def test_first_token_has_the_numbers_of_the_model_with_a_context(
    begun: str,
) -> None:
    """A BOS token is a context: `begun` is the model that has one."""
    engine, other = Begun(name="default"), Begun(name="other", seed=5)
    engine.bos, other.bos = begun == "own", begun == "other"
    async with inspecting(TEXT, engine, against=other) as page:
        await compared(page)
        await page.until(lambda: "other model" in page.running.seen)
        panels = (page.panel, page.screen.compare.panel)
        known = [panel.distribution is not None for panel in panels]
        assert known == [begun == "own", begun == "other"]
        if begun == "other":
            *_, bits, prob, rank = numbers_of_the_other(page)
            assert notation.NONE not in bits + prob + rank
            scored = list(other.score(TEXT.encode(), prefix=(0,)))
            assert rank == f"rank {scored[0].rank}"
        else:
            words = "other model: no context here"
            await page.until(lambda: words in page.running.seen)
        parts = page.screen.query_one(TextTotals).parts
        assert [part.scored for part in parts] == [len(TEXT) - 1] * 2
        assert ("common part" in page.running.seen) is bool(begun)


async def test_models_with_other_tokens_are_compared_by_parts() -> None:
    other_model = Pairs(name="pairs", seed=5)
    async with inspecting("abcdef", against=other_model, size=(150, 30)) as page:
        await compared(page)
        assert page.state == "compared with pairs, by parts that both have"
        known = [d is not None for d in page.view.differences]
        assert known == [False, False, True, False, True, False]
        await page.to(3)
        own, other = (FakeEngine().score(b"abcdef"), Pairs(seed=5).score((1, 2, 3)))
        both = sum(token.logprob or 0.0 for token in list(own)[2:4])
        theirs = list(other)[1].logprob
        assert theirs is not None
        bits, prob, rank, apart = numbers_of_the_other(page)[-4:]
        assert bits == f"{notation.surprisal(theirs)} bits"
        assert prob == f"p {notation.chance(exp(theirs))}"
        assert rank == f"rank {list(Pairs(seed=5).score((1, 2, 3)))[1].rank}"
        assert apart == f"difference {notation.difference((theirs - both) / LN2)} bits"


async def test_token_of_the_text_has_a_row_in_both_panels() -> None:
    other = FakeEngine(name="other", seed=5)
    async with inspecting(TEXT, against=other, size=(80, 24)) as page:
        await compared(page)

        def rows() -> list[str]:
            return re.findall(r"●(\S+)", page.running.seen)

        for place in (2, 9, 20):
            await page.to(place)
            name = visible_token(page.view.tokens[place].text)
            await page.until(lambda name=name: rows() == [name, name])
            for panel in (page.panel, page.screen.compare.panel):
                shown = panel.distribution
                panel.focus()
                await page.press("end")
                await page.until(
                    lambda panel=panel, shown=shown: panel.distribution is not shown
                )
                await page.until(lambda name=name: rows() == [name, name])


async def test_branch_shows_the_whole_vocabulary_of_the_other_model() -> None:
    engine = FakeEngine([" dog"], name="default")
    other = FakeEngine([" dog"], name="other", seed=5)
    async with inspecting(TEXT, engine, against=other) as page:
        await compared(page)
        await page.to(3)
        await page.press("g")
        await page.until(lambda: len(page.branches) == 2)
        await page.idle()
        page.view.select(4)
        ids = tuple(token.id for token in page.view.tokens[:4])
        panel = page.screen.compare.panel
        expected = other._position(state_after(ids)).ranked

        def shown() -> list[tuple[int, float]]:
            rows = panel.distribution.candidates if panel.distribution else ()
            return [(row.id, row.logprob) for row in rows]

        await page.until(lambda: shown() == list(expected[:20]))
        assert panel.chosen == page.view.tokens[4].id
        assert "other model: scored on the text only" in page.running.seen
        (total,) = page.screen.query_one(TextTotals).parts
        assert (total.name, total.tokens) == ("branch", len(page.view.tokens))
        panel.focus()
        while panel.distribution is not None and not panel.distribution.start:
            await page.press("pagedown")
        start = panel.distribution.start if panel.distribution else 0
        page_shown = shown()
        assert page_shown == list(expected[start : start + len(page_shown)])
        own = page.panel.distribution
        assert own is not None and own.start == 0
        settings = replace(page.screen.sampler.settings, temperature=2.0)
        before = panel.distribution
        page.screen.sampler.use(settings)
        await page.until(lambda: page.panel.distribution is not own)
        await page.until(lambda: panel.distribution is not before)
        assert shown() == page_shown
        before = panel.distribution
        page.screen.sampler.use(replace(settings, temperature=0.5))
        event = ProbabilityPanel.PageRequested(page.panel, 5, 10)
        page.screen.sampler.follow_panel(event)  # before the first answer
        await page.until(lambda: panel.distribution is not before)
        assert page.panel.distribution is not None
        assert page.panel.distribution.start == 5


async def test_branch_leaves_the_other_panel_empty_where_tokens_differ() -> None:
    engine = FakeEngine([" dog"], name="default")
    async with inspecting(TEXT, engine, against=Pairs(name="pairs", seed=5)) as page:
        await compared(page)
        await page.to(3)
        await page.press("g")
        await page.until(lambda: len(page.branches) == 2)
        await page.idle()
        assert page.screen.compare.panel.distribution is None
        assert "The other model has a" in page.running.seen  # different tokenizer
        assert "compared on the text" in page.running.seen


async def test_newly_loaded_model_is_compared_with_the_same_other_model() -> None:
    other = FakeEngine(name="other", seed=5)
    async with inspecting(TEXT, against=other) as page:
        await compared(page)
        before = page.view.differences
        second = FakeEngine(name="second", seed=7)
        app = page.running.app
        app.open_model = lambda wanted: lambda _: (second, other)
        app.load_model(ModelRef("second"))
        await page.running.ready("second")
        await compared(page)
        assert page.view.differences != before
        assert [verb for verb, _ in other.calls].count("score") == 1
        app.open_model = lambda wanted: lambda _: second
        app.load_model(ModelRef("second"))
        await page.until(lambda: not page.screen.has_class("-comparing"))
        await page.until(lambda: page.state.startswith("ready"))
        assert page.view.differences == ()


async def test_other_model_is_asked_with_what_stands_before_its_own_scores() -> None:
    engine, other = Begun(name="default", bos=True), Begun(name="other", seed=5)
    async with inspecting(TEXT, engine, against=other) as page:
        await compared(page)
        await page.to(4)
        panel = page.screen.compare.panel
        await page.until(
            lambda: panel.distribution is not None and panel.distribution.handle >= 0
        )
        scored = list(other.score(TEXT.encode(), top_n=1))[4]
        assert panel.distribution is not None
        assert panel.distribution.candidates[0].logprob == scored.top[0].logprob


async def test_failing_other_model_leaves_the_text() -> None:
    other = FakeEngine(name="other", seed=5, error=RuntimeError("boom"))
    async with inspecting(TEXT, against=other) as page:
        await page.until(lambda: not page.screen.compare.is_reading)
        assert page.text == TEXT and page.screen.compare.comparison is None


async def test_stopped_comparison_says_so_and_is_taken_up_again() -> None:
    go_on = Event()

    def hold(index: int) -> None:
        if index == 3:
            assert go_on.wait(20)

    other = FakeEngine(name="other", seed=5, on_token=hold)
    async with inspecting(TEXT, against=other) as page:
        await page.until(lambda: page.screen.compare.is_reading)
        await page.press("ctrl+c")
        go_on.set()
        await page.until(lambda: page.state.startswith("stopped; nothing is compared"))
        assert "Not compared" in page.running.seen
        await page.press("r")
        await compared(page)
        assert page.view.differences[1:] == pytest.approx(bits_of(TEXT))


async def test_row_of_a_paused_panel_is_not_taken_at_another_token() -> None:
    async with inspecting(TEXT, FakeEngine([" dog"], name="default")) as page:
        await page.to(3)
        await page.press("f6")
        page.view.select(5)
        await page.until(lambda: page.view.index == 5)
        page.panel.focus()
        await page.press("down", "enter")
        await page.until(lambda: page.running.notices)
        assert "paused at another token" in page.running.notices
        assert len(page.branches) == 1

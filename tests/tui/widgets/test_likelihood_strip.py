"""The strip: totals that agree, a whole history in any width, a bounded cost."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    ScoredToken,
    Step,
)
from lmtui.notation import bits, perplexity
from lmtui.surprisal_scale import BOUNDS, STEPS, surprisal_step
from lmtui.tui.widgets.likelihood_strip import (
    CAPACITY,
    EMPTY,
    History,
    LikelihoodStrip,
    block,
    squeeze,
)
from tests.fakes import FakeEngine
from tests.tui.hosts import Host, hosted, resized, written

LOGPROBS = st.lists(st.one_of(st.none(), st.floats(-30, 0)), max_size=1500)


def scored(logprob: float | None) -> ScoredToken:
    return ScoredToken(0, 0, "a", b"a", logprob, None, None)


@given(LOGPROBS)
def test_history_sums_tokens_log_prob_and_perplexity(
    logprobs: list[float | None],
) -> None:
    history = History()
    for logprob in logprobs:
        history.add(logprob)
    known = [logprob for logprob in logprobs if logprob is not None]
    assert history.tokens == len(logprobs) and history.scored == len(known)
    assert history.logprob == pytest.approx(math.fsum(known))
    if known:
        mean = -math.fsum(known) / len(known)
        assert history.perplexity == pytest.approx(math.exp(mean))


@given(LOGPROBS, st.integers(1, 200))
def test_history_columns_keep_the_highest_peak(
    logprobs: list[float | None], width: int
) -> None:
    history = History()
    for logprob in logprobs:
        history.add(logprob)
    columns = history.columns(width)
    assert len(columns) <= min(width, max(1, len(logprobs)))
    highest = max((bits(lp) for lp in logprobs if lp is not None), default=0.0)
    assert max(columns, default=0.0) == pytest.approx(highest)


def test_history_columns_are_bounded_and_in_order() -> None:
    history = History()
    for index in range(100_000):
        history.add(-float(index))
    columns = history.columns(10_000)
    assert len(columns) <= CAPACITY
    assert columns == sorted(columns)


def test_history_skips_nan_and_infinity() -> None:
    history = History()
    for logprob in (math.nan, -math.inf, math.inf, -1.0):
        history.add(logprob)
    assert (history.scored, history.logprob) == (1, -1.0)


@given(st.lists(st.floats(0, 20)), st.integers(0, 50))
def test_squeeze_keeps_the_greatest_value(values: list[float], width: int) -> None:
    columns = squeeze(values, width)
    assert len(columns) == min(width, len(values))
    if columns:
        assert max(columns) == max(values)


@given(st.floats(0, 40), st.floats(0, 40))
def test_blocks_grow_with_the_value(first: float, second: float) -> None:
    low, high = sorted((first, second))
    for row in (0, 1):
        assert block(low, row, per_row=8) <= block(high, row, per_row=8) or (
            block(low, row, per_row=8) == " "
        )


@given(st.floats(-40, 0), st.floats(-40, 0))
def test_surprisal_step_grows_as_the_probability_falls(
    first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert surprisal_step(low) >= surprisal_step(high)
    assert 0 <= surprisal_step(first) < STEPS


def test_surprisal_step_is_zero_for_likely_or_unscored_tokens() -> None:
    assert surprisal_step(math.log(0.81)) == 0 and surprisal_step(math.log(0.79)) == 1
    assert surprisal_step(None) == surprisal_step(math.nan) == 0
    assert surprisal_step(-math.inf) == len(BOUNDS)


def reply() -> tuple[FakeEngine, list[Step], GenerationResult]:
    engine = FakeEngine(answers=["Hello there"])
    prompt = engine.prompt([ChatTurn("user", "Hi")])
    results = list(engine.generate(prompt, SamplingSettings()))
    steps = [result for result in results if isinstance(result, Step)]
    (finish,) = [result for result in results if isinstance(result, GenerationResult)]
    return engine, steps, finish


async def test_strip_shows_times_speed_and_sums_while_a_reply_streams() -> None:
    engine, steps, finish = reply()
    now = [100.0]
    strip = LikelihoodStrip(clock=lambda: now[0])
    async with hosted(strip, (100, 10)) as (app, pilot):
        assert EMPTY in app.text()
        strip.reset(info=engine.info, prompt_tokens=finish.prompt_tokens)
        now[0] = 100.5
        strip.extend(steps[:2])
        now[0] = 101.0
        strip.extend(steps[2:])
        await pilot.pause()
        text = app.text()
        used = finish.prompt_tokens + len(steps)
        assert f"context {used} / 4,096 · exact" in text
        assert "first token 0.50 s" in text
        assert f"{(len(steps) - 2) / 0.5:,.1f} tokens/s" in text
        nats = f"{finish.logprob:,.2f}".replace("-", "−")
        assert f"Σ log P {nats} nats" in text
        strip.finish(finish)
        await pilot.pause()
        text = app.text()
        assert "first token 0.50 s · 100.0 tokens/s" in text
        assert f"perplexity {perplexity(finish.perplexity)}" in text
        strip.reset()
        await pilot.pause()
        assert EMPTY in app.text()


async def test_strip_fits_any_width() -> None:
    engine, steps, _ = reply()
    async with hosted(strip := LikelihoodStrip(), (100, 10)) as (_app, pilot):
        strip.reset(info=engine.info)
        strip.extend([scored(None), *steps, *(scored(-1e5) for _ in range(900))])
        for width in (1, 10, 24, 40, 60, 72, 200):
            await resized(pilot, width, 10)
            drawn = written(strip)
            assert max(map(cell_len, drawn)) <= width
            assert len(drawn) <= strip.size.height


async def test_strip_without_a_token_shows_no_first_token_time() -> None:
    engine, steps, finish = reply()
    async with hosted(strip := LikelihoodStrip(), (120, 10)) as (app, pilot):
        strip.reset(info=engine.info)
        strip.finish(replace(finish, tokens=0, first_token_seconds=None))
        await pilot.pause()
        assert not any(words in app.text() for words in ("first", "prompt"))
        assert "Σ" not in app.text() and EMPTY in app.text()
        strip.reset(info=engine.info, before=steps)  # an answer of earlier
        strip.finish(replace(finish, first_token_seconds=1.67))
        await pilot.pause()
        assert "first token 1.67 s" in app.text()


async def test_strip_that_is_renewed_stays_bright_when_its_timer_has_fired() -> None:
    strip, held, go_on = LikelihoodStrip(), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        held.set()
        await go_on.wait()

    async with Host(strip).run_test() as pilot:
        strip.call_next(hold)
        await held.wait()
        strip.outdate(0.001)
        while not strip.message_queue_size:  # until the timer has fired
            await asyncio.sleep(0.001)
        strip.renew()
        go_on.set()
        await pilot.pause()
        assert not strip.stale


async def test_strip_of_a_part_says_so_and_counts_no_texts_as_tokens() -> None:
    engine, steps, _ = reply()
    remote = replace(engine.info, precision="remote")
    bare = [replace(step, logprob=None) for step in steps]
    now = [0.0]
    strip = LikelihoodStrip(clock=lambda: now[0])
    async with hosted(strip, (100, 10)) as (app, pilot):
        strip.reset(info=remote, prompt_tokens=5)
        strip.extend([*steps, bare[0]])
        await pilot.pause()
        assert f"Σ of {len(steps)} of {len(steps) + 1} tokens −" in app.text()
        strip.reset(info=remote, prompt_tokens=5)
        strip.extend(bare[:1])
        now[0] = 1.0
        strip.extend(bare[1:])
        await pilot.pause()
        assert strip.tokens_per_second is None
        assert "context – /" in app.text() and "Σ log P" not in app.text()

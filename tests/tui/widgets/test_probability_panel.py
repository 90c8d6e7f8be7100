"""The panel: what is drawn sums to one, is safe, and answers keys and mouse."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.message import Message

from lmtui.chart import bar
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Candidate,
    ChatTurn,
    Distribution,
    Mark,
    Step,
)
from lmtui.notation import likely
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import clip, fit_best, pad_to
from lmtui.tui.widgets.panel_lines import (
    fit_rows,
    summary_forms,
)
from lmtui.tui.widgets.probability_panel import (
    EMPTY,
    ProbabilityPanel,
)
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, Host, hosted, resized, safe, written

ENGINE = FakeEngine()


def look(text: str = "the cat", *, top_n: int = 20) -> Distribution:
    return ENGINE.next_distribution(
        tuple(text.encode()), SamplingSettings(), top_n=top_n
    )


def distribution(
    texts: list[str], *, start: int = 0, cut: Mark | None = None, handle: int = 7
) -> Distribution:
    prob = 0.9 / max(1, len(texts))
    rows = tuple(
        Candidate(index, text, b"", math.log(prob), 0.0 if cut else prob, cut)
        for index, text in enumerate(texts)
    )
    return Distribution(
        candidates=rows,
        start=start,
        vocabulary=49_152,
        rest_prob=0.1,
        rest_sampled_prob=0.1,
        remaining=12,
        remaining_prob=0.931,
        entropy=2.7 * math.log(2),
        handle=handle,
    )


@given(
    top=st.integers(0, 40),
    count=st.integers(-2, 50),
    first=st.integers(0, 45),
    text=st.text(max_size=8),
)
def test_panel_rows_and_rest_sum_to_one(
    top: int, count: int, first: int, text: str
) -> None:
    shown = ENGINE.next_distribution(
        text.encode(errors="replace"), SamplingSettings(temperature=1.3), top_n=top
    )
    rows = fit_rows(shown, count, first=first)
    raw = math.fsum(row.prob for row in rows.candidates) + rows.rest_prob
    assert raw == pytest.approx(1, abs=1e-5)
    assert rows.rest_sampled_prob is not None
    sampled = math.fsum(row.sampled_prob or 0 for row in rows.candidates)
    assert sampled + rows.rest_sampled_prob == pytest.approx(1, abs=1e-5)


def test_a_scored_text_has_no_sampled_mass() -> None:
    row = Candidate(1, "a", b"a", math.log(0.5))
    shown = Distribution((row,), 0, 9, 0.5, 0.5, 1, 0.5, 0.7, 1)
    assert fit_rows(shown, 3).rest_sampled_prob is None


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 60))
def test_the_bar_is_half_a_cell_exact(prob: float, sampled: float, width: int) -> None:
    drawn = bar(prob, sampled, width)
    assert cell_len(drawn) == width
    above = sum({"▘": 1, "▌": 1, "▙": 1, "▀": 2, "▛": 2, "█": 2}.get(c, 0)
                for c in drawn)  # fmt: skip
    below = sum({"▖": 1, "▌": 1, "▛": 1, "▄": 2, "▙": 2, "█": 2}.get(c, 0)
                for c in drawn)  # fmt: skip
    assert (above, below) == (round(2 * width * prob), round(2 * width * sampled))


@given(st.text(), st.integers(0, 30))
def test_clip_and_pad_to_keep_to_the_cells(text: str, width: int) -> None:
    assert cell_len(clip(text, width)) <= max(width, 0)
    assert cell_len(pad_to(text, width)) == width


def test_clip_limits_combining_marks() -> None:
    assert len(clip("e" + "\u0301" * 1000, 10)) < 10


def test_summary_forms_are_shortened_to_fit() -> None:
    forms = summary_forms(distribution(["a"]))
    assert fit_best(forms, 80) == [
        "kept 12 of 49,152 · 93.1% of mass · entropy 2.7 bits · perplexity here 6.5"
    ]
    assert fit_best(forms, 40, lines=2) == [
        "kept 12 of 49,152 · 93.1% of mass",
        "entropy 2.7 bits · perplexity here 6.5",
    ]
    assert fit_best(forms, 26) == ["kept 12 · entropy 2.7 bits"]
    assert fit_best(forms, 120)[0].endswith(
        "perplexity here 6.5 · as unsure as between 6 tokens"
    )


def test_perplexity_of_a_text_is_explained_where_there_is_room() -> None:
    scored = distribution(["a"])
    rows = tuple(row._replace(sampled_prob=None) for row in scored.candidates)
    forms = summary_forms(replace(scored, candidates=rows))
    assert fit_best(forms, 40, lines=2) == [
        "entropy 2.7 bits · perplexity here 6.5",
        "as unsure as between 6 tokens",
    ]
    assert fit_best(forms, 40) == ["entropy 2.7 bits · perplexity here 6.5"]
    sure = summary_forms(replace(scored, candidates=rows, entropy=0.1))
    assert fit_best(sure, 120)[0].endswith("perplexity here 1.1 · nearly sure")


def test_the_summary_says_what_the_grammar_allows() -> None:
    forms = summary_forms(
        replace(distribution(["a"]), allowed=1234, allowed_prob=0.0312)
    )
    assert fit_best(forms, 80, lines=2) == [
        "grammar allows 1,234 of 49,152 tokens, 3.1% of the mass · kept 12",
        "entropy 2.7 bits · perplexity here 6.5 · as unsure as between 6 tokens",
    ]
    assert fit_best(forms, 40, lines=2) == [
        "grammar allows 1,234, 3.1% of mass",
        "kept 12 · entropy 2.7 bits",
    ]
    assert fit_best(forms, 29, lines=2) == [
        "grammar: 1,234 with 3.1%",
        "kept 12 · entropy 2.7 bits",
    ]


async def test_panel_fits_any_size() -> None:
    async with hosted(panel := ProbabilityPanel(), (80, 24)) as (app, pilot):
        panel.show(look())
        for width, height in product((24, 31, 32, 40, 60, 80), (4, 5, 9, 24)):
            await resized(pilot, width, height)
            lines = app.lines()
            assert lines[0].startswith("Next token")
            assert any("rest" in line for line in lines)
            assert "bits" in "".join(lines[-2:])
            drawn = written(panel)
            assert max(map(cell_len, drawn)) <= width
            assert len(drawn) <= height


async def test_panel_draws_rows_with_marks_and_numbers() -> None:
    async with hosted(panel := ProbabilityPanel(), (60, 12)) as (app, pilot):
        panel.show(distribution([" mat", "\n"], cut="p"), chosen=1)
        await pilot.pause()
        lines = app.lines()
        assert "▀raw ▄drawn" in lines[0]
        assert lines[1].startswith(" ·mat") and lines[1].endswith("45.0%     0% p")
        assert lines[2].startswith("●⏎")
        assert lines[3].startswith(" rest ") and "10.0%" in lines[3]
        panel.show(distribution(["a"]), chosen=999)  # which has no row
        await pilot.pause()
        assert app.lines()[2].startswith("●rest ")


async def test_name_of_a_control_token_is_shown_whole() -> None:
    async with hosted(panel := ProbabilityPanel(), (80, 9)) as (app, pilot):
        for width in (27, 29, 41):  # beside the chat, the inspector
            await resized(pilot, width, 9)
            for name in ("<|im_end|>", "<eos>", "[INST]", "</think>"):
                panel.show(distribution([" mat", name, " international"], cut="p"))
                await pilot.pause()
                (row,) = (line for line in app.lines() if name in line)
                assert "30.0%" in row and row.endswith(" 0% p")
                assert max(map(cell_len, written(panel))) <= width
            panel.show(distribution([" mat", " international"]))
            await pilot.pause()
            assert "·inter" in app.text() and "·international" not in app.text()


@pytest.mark.parametrize("height", [6, 9, 30])
@pytest.mark.parametrize("chosen", [0, 19, 200])
async def test_chosen_token_always_has_a_row(chosen: int, height: int) -> None:
    prompt = ENGINE.prompt([ChatTurn("user", "Hi")])
    settings = SamplingSettings(temperature=5, top_k=0, top_p=1, min_p=0)
    whole = ENGINE.next_distribution(prompt.ids, settings, top_n=300)
    drawn = whole.candidates[chosen]
    few = ENGINE.next_distribution(prompt.ids, settings, top_n=20)
    step = Step(0, drawn.id, drawn.text, drawn.bytes, "", drawn.logprob, chosen + 1,
                1.0, drawn.sampled_prob, few)  # fmt: skip
    async with hosted(panel := ProbabilityPanel(), (60, height)) as (app, pilot):
        panel.show(few, chosen=step)
        panel.focus()
        for key in ("", "down", "down", "down", "pagedown", "end"):
            await pilot.press(*filter(None, [key]))
            await pilot.pause()
            (row,) = (line for line in app.lines() if line.startswith("●"))
            assert row.startswith(f"●{visible_token(drawn.text)} ")
            assert likely(drawn.prob, width=6) in row
            assert sum(" rest " in line for line in app.lines()) == 1
    rows = fit_rows(few, 5, last=None if chosen < 5 else drawn)
    raw = math.fsum(row.prob for row in rows.candidates) + rows.rest_prob
    sampled = math.fsum(row.sampled_prob or 0 for row in rows.candidates)
    assert raw == pytest.approx(1, abs=1e-5)
    assert sampled + (rows.rest_sampled_prob or 0) == pytest.approx(1, abs=1e-5)


async def test_panel_shows_empty_and_loading_text_and_its_title() -> None:
    async with hosted(panel := ProbabilityPanel(), (80, 6)) as (app, pilot):
        assert EMPTY in app.text()
        panel.clear("Loading \x1b[31m[bold]fake")
        panel.title = "Your next word"
        await pilot.pause()
        assert "Loading ␛[31m[bold]fake" in app.text()
        assert app.lines()[0] == "Your next word"


async def test_paused_panel_keeps_the_newest_distribution_for_later() -> None:
    async with hosted(panel := ProbabilityPanel(), (60, 8)) as (app, pilot):
        panel.show(distribution(["first"]), chosen=0)
        panel.paused = True
        panel.title = "Later"
        assert panel.title == "Next token"
        panel.show(distribution(["first"], cut="m"), chosen=panel.chosen)
        await pilot.pause()  # the same position is drawn anew
        assert app.lines()[1].startswith("●first") and app.lines()[1].endswith("0% m")
        panel.show(distribution(["second"], handle=8))
        panel.show(distribution(["third"], handle=9))
        await pilot.pause()
        assert "‖ paused" in app.text() and "first" in app.text()
        panel.paused = False
        await pilot.pause()
        assert "third" in app.text() and "paused" not in app.text()
        assert panel.title == "Later"


async def test_panel_keys_walk_scroll_and_request_pages() -> None:
    async with hosted(panel := ProbabilityPanel(), (40, 6)) as (app, pilot):
        panel.picks = True
        panel.show(distribution(list("abcde"), start=10))
        panel.focus()
        await pilot.press("down", "down", "down", "enter")
        assert app.text().count(" a ") == 0  # scrolled out
        assert app.lines()[0].startswith("Next token from 12")
        await pilot.press("down", "down")
        await pilot.press("pageup", "up")
        await pilot.press("home")
    picked = [m for m in app.posted if isinstance(m, ProbabilityPanel.CandidatePicked)]
    assert [m.candidate.text for m in picked] == ["d"]
    asked = [m for m in app.posted if isinstance(m, ProbabilityPanel.PageRequested)]
    assert [m.start for m in asked] == [15, 9, 0]


async def test_pages_show_every_row_of_the_ranking_once() -> None:
    panel, count = ProbabilityPanel(), 47
    names = [f"t{rank:03}" for rank in range(count)]

    def page(start: int, rows: int = 20) -> Distribution:
        found = distribution(names[start : start + rows], start=start)
        return replace(found, vocabulary=count)

    def answer(message: Message) -> None:
        if isinstance(message, ProbabilityPanel.PageRequested):
            panel.show(page(message.start, message.count), again=True)

    def drawn() -> list[str]:
        return [name for name in names if name in app.text()]

    app = Host(panel)
    async with app.run_test(size=(40, 11), message_hook=answer) as pilot:
        panel.show(page(0))
        panel.focus()
        await pilot.pause()
        seen = drawn()
        step = len(seen)
        for _ in range(count // step):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += drawn()
        assert seen == names
        await pilot.press("pagedown")
        assert drawn() == names[-(count % step) :]
        await pilot.press("end")
        await pilot.pause()
        assert drawn() == names[-step:]
        await pilot.press("pageup")
        await pilot.pause()
        assert drawn() == names[-2 * step : -step]
        await pilot.press("home")
        await pilot.pause()
        assert drawn() == names[:step]


async def test_the_mouse_picks_a_row() -> None:
    async with hosted(panel := ProbabilityPanel(), (40, 10)) as (app, pilot):
        panel.show(distribution(list("abc")))
        await pilot.pause()
        await pilot.click(panel, offset=(5, 3))  # nothing can be picked yet
        panel.picks = True
        await pilot.click(panel, offset=(5, 2))
        await pilot.click(panel, offset=(5, 4))  # everything else
        await pilot.click(panel, offset=(5, 0))
    picked = [m for m in app.posted if isinstance(m, ProbabilityPanel.CandidatePicked)]
    assert [m.candidate.text for m in picked] == ["b"]


async def test_panel_keys_without_a_distribution_pick_nothing() -> None:
    async with hosted(panel := ProbabilityPanel(), (40, 10)) as (app, pilot):
        panel.picks = True
        panel.focus()
        await pilot.press("up", "down", "pageup", "pagedown", "home", "end", "enter")
        panel.show(distribution([]))
        await pilot.press("up", "down", "pageup", "pagedown", "enter")
    assert not [
        m for m in app.posted if isinstance(m, ProbabilityPanel.CandidatePicked)
    ]


async def test_panel_draws_hostile_tokens_safely() -> None:
    width = 60
    panel = ProbabilityPanel(title="\x1b[31m[/x]")
    async with hosted(panel, (width, 30)) as (app, pilot):
        panel.show(distribution(list(HOSTILE.values())))
        await pilot.pause()
        lines = app.lines()
        assert safe(app.text())
        assert all(cell_len(line) <= width for line in lines)
        assert max(map(len, lines)) < 4 * width
        assert any("[/x]" in line for line in lines[1:])

"""The page in a real browser, where there is one: its keys, its panel, its silence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui.analysis.compare import ComparedSpan, alone
from lmtui.analysis.html.writer import cells, page, text_data
from lmtui.analysis.summary import Totals, figures
from lmtui.notation import LN2
from lmtui.partial import EntropyRange, RankAbove
from tests.analysis.html.test_writer import HOSTILE, pieces_of
from tests.analysis.scored import token
from tests.browser import BROWSER, Browser

TEXT = f"one line\nanother 橋 line\n{HOSTILE}"
FACTS = {"model": "fake", "precision": "exact", "dtype": "float32", "window": 2}
FACTS |= {"stride": 1, "bos": False}

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests here."""
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def write_page(file: Path, *, compares: bool) -> Path:
    """A page of one text."""
    totals, spans = Totals(), []
    for piece in pieces_of(TEXT):
        totals.add(*piece.tokens[0])
        spans.append(ComparedSpan(piece.tokens, piece.tokens if compares else ()))
    drawn = cells(TEXT, spans, top_n=3)
    file.write_text(page_of(drawn, totals, compares=compares), "utf-8")
    return file


def page_of(cells: str, totals: Totals, *, compares: bool = False, **more: Any) -> str:
    """The page of such cells."""
    entropies = None if totals.has_ranges_only else totals.entropies
    counts = {"ranks": dict(enumerate(totals.ranks)), "entropy_bits": entropies}
    counts |= {"scored": totals.scored, "unlisted": totals.unlisted}
    told = {"accuracy": {"1": 0.5, "5": 0.6, "10": 1}}
    own = FACTS | counts | told | {"figures": figures(totals)}
    facts: dict[str, Any] = {"file": "a.txt", "own": own, **more}
    if compares:
        comparison = {"unit": "token", "bits": 0.0, "compared": 9, "more": 0, "less": 0}
        facts |= {"other": own, "comparison": comparison}
    return page("a.txt", text_data(cells, facts))


def place(browser: Browser) -> str:
    """Where the panel says that it is."""
    found: str = browser.value(
        'document.querySelector("#detail").innerText.match(/line .*/)[0]'
    )
    return found


def test_panel_shows_bounds_where_rank_and_entropy_are_not_known(
    browser: Browser, tmp_path: Path
) -> None:
    totals, tokens = Totals(), []
    for at, spread in enumerate(
        [EntropyRange(LN2, 2 * LN2), EntropyRange(3 * LN2, math.inf)]
    ):
        beyond = replace(token(at, -9.0), rank=RankAbove(500), entropy=spread)
        totals.add(beyond)
        tokens.append((beyond, (at, at + 1)))
    file = tmp_path / "page.html"
    drawn = cells("ab", alone(tokens), top_n=0)
    file.write_text(page_of(drawn, totals), "utf-8")
    browser.open(file)
    shown = 'document.querySelector("#detail").innerText'
    assert {">500", "1.0–2.0 bits", "2.0–4.0"} <= set(browser.value(shown).split("\n"))
    browser.press("ArrowRight")
    assert {">500", "≥3.0 bits", "≥8.0"} <= set(browser.value(shown).split("\n"))
    summary = browser.value('document.querySelector("#summary").innerText')
    assert "A range for each token" in summary
    assert "not listed\t2\t100%" in summary
    assert not [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]


@pytest.mark.parametrize("compares", [False, True])
def test_keys_move_the_cursor_without_errors_or_requests(
    browser: Browser, tmp_path: Path, compares: bool
) -> None:
    browser.open(write_page(tmp_path / "page.html", compares=compares))
    assert place(browser) == "line 1, column 2"
    for key, expected in {
        "ArrowRight": "line 1, column 3",
        "ArrowLeft": "line 1, column 2",
        "ArrowDown": "line 2, column 2",
        "ArrowUp": "line 1, column 2",
        "Home": "line 1, column 1",
        "End": f"line 3, column {len(HOSTILE)}",
    }.items():
        browser.press(key)
        assert place(browser) == expected, key
    drawn = browser.value('document.querySelector("#text").textContent')
    assert "</script><script>alert(1)</script>" in drawn
    assert drawn.startswith("one line\nanother 橋 line\n")
    assert (
        browser.value('document.querySelectorAll("#text b, #text script").length') == 0
    )
    names = ["difference"] * compares
    names += ["surprisal", "rank", "entropy", "probability", "typicality"]
    for name in names:
        assert browser.value('document.querySelector("#legend b").innerText') == name
        browser.press("s")
    told = [e["method"] for e in browser.events]
    assert not {"Log.entryAdded", "Runtime.exceptionThrown"} & set(told)
    asked = [e["params"] for e in browser.events if e["method"].endswith("WillBeSent")]
    assert [each["request"]["url"][:5] for each in asked] == ["file:"]


def test_hovering_a_token_shows_its_alternatives_in_the_panel(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(write_page(tmp_path / "page.html", compares=False))
    box = json.loads(
        browser.value(
            'JSON.stringify(document.querySelectorAll("#text .c")[5].'
            "getBoundingClientRect())"
        )
    )
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", **middle)
    assert place(browser) == "line 1, column 6"
    assert browser.value('document.querySelectorAll("#detail .top tr").length') == 3


def test_effects_are_shown_while_the_target_is_chosen(
    browser: Browser, tmp_path: Path
) -> None:
    """“another” is the target, and what stands before it are three parts."""
    totals, spans = Totals(), []
    for piece in pieces_of(TEXT):
        totals.add(*piece.tokens[0])
        spans.append(ComparedSpan(piece.tokens))
    parts = [(0, 3), (3, 8), (8, 9), (9, 16)]
    drawn = cells(TEXT, spans, top_n=3, parts=parts)
    rows = [[1, 5.5, " line"], [None, 3.0, "user 1: one"], [0, -0.7, "one"]]
    why = {"by": "word", "logprob": -2 * LN2, "bits": [-0.7, 5.5, None]}
    why |= {"rows": rows, "count": 4}
    file = tmp_path / "page.html"
    file.write_text(page_of(drawn, totals, why=why), "utf-8")
    browser.open(file)
    classes = '[...document.querySelectorAll("#text .c")].map((e) => e.classList[1])'
    legend = 'document.querySelector("#legend b").innerText'
    shown = 'document.querySelector("#detail").innerText'
    shades = ["d-1"] * 3 + ["d3"] * 5 + [None] + ["target"] * 7

    def is_explained() -> bool:
        told = json.loads(browser.value(f"JSON.stringify({classes})"))
        assert (told[: len(shades)] == shades) == (told[0] == "d-1")
        assert (browser.value(legend) == "effect") == (told[0] == "d-1")
        return bool(told[0] == "d-1")

    assert is_explained()  # from the beginning
    assert place(browser) == "line 2, column 1"
    text = browser.value(shown)
    assert (
        "another: 2.0 bits\nline:col\tbits\ttext\n1:4\t+5.5\t·line\n"
        "–\t+3.0\tuser·1:·one\n1:1\t−0.7\tone\n" in text
    )
    sign = (
        'getComputedStyle(document.querySelectorAll("#text .c")[3], "::after").content'
    )
    assert browser.value(sign) == '"⁺"'
    browser.press("End")
    assert not is_explained() and "Effect" not in browser.value(shown)
    click = 'document.querySelectorAll("#text .c")[12].click()'
    browser.value(click)
    assert is_explained() and "Effect of each word" in browser.value(shown)
    assert not [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_light_or_dark_colour_scheme(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    wish = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.ask("Emulation.setEmulatedMedia", features=wish)
    browser.open(write_page(tmp_path / "page.html", compares=False))
    colour = browser.value("getComputedStyle(document.body).backgroundColor")
    parts = [int(part) for part in colour[4:-1].split(",")]
    assert (sum(parts) > 600) is (scheme == "light")

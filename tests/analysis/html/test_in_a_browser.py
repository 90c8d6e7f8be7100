"""The page in a real browser, where there is one: its keys, its panel, its silence."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui.analysis.compare import ComparedSpan
from lmtui.analysis.html.writer import Cells, page, text_data
from lmtui.analysis.summary import Totals, figures
from lmtui.notation import LN2
from tests.analysis.html.test_writer import HOSTILE, pieces_of
from tests.analysis.scored import token

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
TEXT = f"one line\nanother 橋 line\n{HOSTILE}"
FACTS = {"model": "fake", "precision": "exact", "dtype": "float32", "window": 2}
FACTS |= {"stride": 1, "bos": False}

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")


class Browser:
    """A headless Chromium, told what to do through a pipe (DevTools protocol)."""

    def __init__(self, profile: Path) -> None:
        # Its ends of the pipes have to be 3 and 4; ours must not be in the way.
        pairs = [
            [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in os.pipe()] for _ in "io"
        ]
        (reads, self._write), (self._read, writes) = pairs
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        join = f'exec "$0" "$@" 3<&{reads} 4>&{writes}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", join, str(BROWSER), *flags, "about:blank"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (reads, writes):
            os.close(end)
        self._heard = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """What it answers."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        os.write(self._write, json.dumps(asked | self._session).encode() + b"\0")
        while (heard := self._next()).get("id") != self._number:
            self.events.append(heard)
        return heard["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser is gone"
            self._heard += part
        first, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, file: Path) -> None:
        """Show a page; the events are those from then on."""
        self.events.clear()
        self.ask("Page.navigate", url=file.as_uri())
        while "Page.loadEventFired" not in [event["method"] for event in self.events]:
            self.events.append(self._next())

    def value(self, code: str) -> Any:
        """What an expression is in the page."""
        return self.ask("Runtime.evaluate", expression=code)["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def close(self) -> None:
        """End it."""
        self.ask("Browser.close")
        self._process.wait(timeout=20)
        for end in (self._read, self._write):
            os.close(end)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests here."""
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def write_page(file: Path, *, compares: bool) -> Path:
    """A page of one text."""
    cells, totals = Cells(TEXT, top_n=3), Totals()
    for piece in pieces_of(TEXT):
        totals.add(*piece.tokens[0])
        cells.add(ComparedSpan(piece.tokens, piece.tokens if compares else ()))
    file.write_text(page_of(cells, totals, compares=compares), "utf-8")
    return file


def page_of(cells: Cells, totals: Totals, *, compares: bool = False) -> str:
    """The page of such cells."""
    counts = {"ranks": dict(enumerate(totals.ranks)), "entropy_bits": totals.entropies}
    counts |= {"scored": totals.scored, "unlisted": totals.unlisted}
    told = {"accuracy": {"1": 0.5, "5": 0.6, "10": 1}, "confidence": [], "claims": []}
    own = FACTS | counts | told | {"figures": figures(totals)}
    facts: dict[str, Any] = {"file": "a.txt", "own": own}
    if compares:
        comparison = {"unit": "token", "bits": 0.0, "compared": 9, "more": 0, "less": 0}
        facts |= {"other": own, "comparison": comparison}
    return page("a.txt", [text_data(cells.finish(), facts)], [])


def place(browser: Browser) -> str:
    """Where the panel says that it is."""
    found: str = browser.value(
        'document.querySelector("#detail").innerText.match(/line .*/)[0]'
    )
    return found


def test_panel_shows_bounds_where_rank_and_entropy_are_not_known(
    browser: Browser, tmp_path: Path
) -> None:
    cells, totals = Cells("ab", top_n=0), Totals()
    for at, entropies in enumerate([(LN2, 2 * LN2), (3 * LN2, math.inf)]):
        beyond = replace(token(at, -9.0), rank_above=500, entropy_range=entropies)
        totals.add(beyond)
        cells.add(ComparedSpan(((beyond, (at, at + 1)),)))
    file = tmp_path / "page.html"
    file.write_text(page_of(cells, totals), "utf-8")
    browser.open(file)
    shown = 'document.querySelector("#detail").innerText'
    assert {">500", "1.0–2.0 bits", "2.0–4.0"} <= set(browser.value(shown).split("\n"))
    browser.press("ArrowRight")
    assert {">500", "≥3.0 bits", "≥8.0"} <= set(browser.value(shown).split("\n"))
    summary = browser.value('document.querySelector("#summary").innerText')
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
    names += ["surprisal", "rank", "entropy", "probability"]
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

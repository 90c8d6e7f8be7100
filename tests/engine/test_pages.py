"""Pages that the default model proofreads: planted slips are found, and a clean page
has no correction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtui.engine.document.types import Correction
from lmtui.engine.engine import LocalEngine
from lmtui.models.load import load
from tests.engine.pages import CLEAN, PAGES, Page

USUAL = ("lighthouse", "workshop", "essay")


@pytest.fixture(scope="module")
def engine(default_home: Path) -> LocalEngine:
    """The default model, as the editor runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        return LocalEngine(load(quantize="auto"))


def corrections(engine: LocalEngine, text: str) -> list[Correction]:
    parts = engine.document.proofread(text, 0, len(text))
    return [each for part in parts for each in part.corrections]


def places(page: Page) -> Iterator[tuple[int, int, str]]:
    """Start and end of each slip, and what belongs there."""
    at = 0
    for wrong, right in page.slips:
        found = re.compile(rf"(?<!\w){re.escape(wrong)}(?!\w)").search(page.text, at)
        assert found, f"“{wrong}” is not there, or not in this order"
        at = found.end()
        yield found.start(), at, right


def undone(page: Page, found: list[Correction]) -> tuple[list[str], list[str]]:
    """The slips that corrections set right, and the corrections elsewhere."""
    text, fixed, known = page.text, [], set()
    for start, end, right in places(page):
        here = [each for each in found if each.start < end and each.end > start]
        known.update(here)
        first = min([start, *(each.start for each in here)])
        last = max([end, *(each.end for each in here)])
        wanted = text[first:start] + right + text[end:last]
        made = text[first:last]
        for each in reversed(here):
            made = made[: each.start - first] + each.text + made[each.end - first :]
        if made.split() == wanted.split():
            fixed.append(text[start:end])
    others = [f"{text[e.start : e.end]} → {e.text}" for e in found if e not in known]
    return fixed, others


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_slips_of_a_page_are_in_it(page: Page) -> None:
    assert len(list(places(page))) == len(page.slips)
    everything = [
        Correction(start, end, right, "misspelt", 1.0)
        for start, end, right in places(page)
    ]
    fixed, others = undone(page, everything)
    assert (len(fixed), others) == (len(page.slips), [])
    assert undone(page, []) == ([], [])


@pytest.fixture
def page(name: str, request: pytest.FixtureRequest) -> Page:
    """A page by its name; two of the clean ones take their minute with --full."""
    if name not in USUAL and not request.config.getoption("--full"):
        pytest.skip("this page is proofread with --full")
    return {**PAGES, **CLEAN}[name]


@pytest.mark.real
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PAGES)
def test_most_slips_of_a_page_are_found(engine: LocalEngine, page: Page) -> None:
    fixed, others = undone(page, corrections(engine, page.text))
    assert len(fixed) >= page.least * len(page.slips), fixed
    assert others == []


@pytest.mark.real
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CLEAN)
def test_clean_page_has_no_correction(engine: LocalEngine, page: Page) -> None:
    assert undone(page, corrections(engine, page.text)) == ([], [])

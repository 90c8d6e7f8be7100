"""Pages that the default model proofreads: planted slips are found, and a clean page
has no correction. Half of each page is read, and all of it with `--full`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lmtui.engine.document.types import Correction, corrected
from lmtui.engine.engine import LocalEngine
from lmtui.models.load import load
from tests.engine.pages import CLEAN, PAGE, SENTENCES, SLIPS


@pytest.fixture(scope="module")
def engine(default_home: Path) -> LocalEngine:
    """The default model, as the editor runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMTUI_HOME", str(default_home))
        return LocalEngine(load(quantize="auto"))


@pytest.fixture
def read(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Of a page, what is proofread."""
    if request.config.getoption("--full"):
        return str
    return lambda page: page[: page.index("\n\n", len(page) // 2 - 100)]


def corrections(engine: LocalEngine, text: str) -> list[Correction]:
    parts = engine.document.proofread(text, 0, len(text))
    return [each for part in parts for each in part.corrections]


def places() -> Iterator[tuple[int, int, str]]:
    """Start and end of each slip, and what belongs there."""
    at = 0
    for wrong, right in SLIPS:
        found = re.compile(rf"(?<!\w){re.escape(wrong)}(?!\w)").search(PAGE, at)
        assert found, f"“{wrong}” is not there, or not in this order"
        at = found.end()
        yield found.start(), at, right


def undone(found: list[Correction]) -> tuple[list[str], list[str]]:
    """The slips that corrections set right, and the corrections elsewhere."""
    text, fixed, known = PAGE, [], set()
    for start, end, right in places():
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


def test_slips_of_a_page_are_in_it() -> None:
    everything = [
        Correction(start, end, right, "misspelt", 1.0) for start, end, right in places()
    ]
    fixed, others = undone(everything)
    assert (len(fixed), others) == (len(SLIPS), [])
    assert undone([]) == ([], [])


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_most_slips_of_a_page_are_found(
    engine: LocalEngine, read: Callable[[str], str]
) -> None:
    text = read(PAGE)
    fixed, others = undone(corrections(engine, text))
    assert len(fixed) >= 0.75 * sum(end <= len(text) for _, end, _ in places()), fixed
    assert others == []


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_clean_page_has_no_correction(
    engine: LocalEngine, read: Callable[[str], str]
) -> None:
    assert corrections(engine, read(CLEAN)) == []


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_slips_are_found_in_any_order_and_not_again(engine: LocalEngine) -> None:
    """The same slip comes again and again, after others."""
    wrong = [sentence for sentence, _ in SENTENCES]
    rights = {right for _, right in SENTENCES}
    for sentences in (wrong, wrong[::-1]):
        text = " ".join(sentences)
        found = corrections(engine, text)
        fixed = corrected(text, found)
        assert sum(right in fixed for right in rights) >= 12, fixed
        assert len(corrections(engine, fixed)) <= 1
        # What may be applied unseen is right.
        sure = [each.text for each in found if each.is_sure]
        assert sure and all(word in " ".join(rights) for word in sure), sure


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_sentences_without_slips_have_no_correction(engine: LocalEngine) -> None:
    assert len(corrections(engine, " ".join(right for _, right in SENTENCES))) <= 1

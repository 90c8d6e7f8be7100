"""The page has all of the text, and nothing in it can act."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.compare import ComparedSpan, alone
from lmtui.analysis.html.writer import cells, page, text_data
from lmtui.partial import EntropyRange, RankAbove
from lmtui.text import visible, visible_flow
from tests.analysis.scored import row, token
from tests.fakes import FakeEngine

HOSTILE = "</script><script>alert(1)</script><!-- <b>&amp; "
HOSTILE += "\x1b[31m\u202eabc\u2028\x85\ufeff\0"
CONTROLS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]"


def pieces_of(text: str) -> list[ComparedSpan]:
    """What a model with a token a byte makes of a text."""
    engine = FakeEngine()
    encoding = engine.encode(text)
    scored = engine.score(encoding.ids, top_n=9)
    return list(alone(zip(scored, encoding.spans, strict=True)))


def cells_of(text: str, *, top: int = 2) -> list[list[Any]]:
    """The cells of such a text."""
    return drawn(text, pieces_of(text), top=top)


def drawn(text: str, pieces: list[ComparedSpan], *, top: int = 0) -> list[list[Any]]:
    found: list[list[Any]] = json.loads(cells(text, pieces, top_n=top))
    return found


def data_of(whole: str) -> dict[str, Any]:
    """What a page's script reads."""
    (found,) = re.findall(r'id="data">(.*?)</script>', whole, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


@given(st.text(max_size=40))
def test_cells_spell_the_text_with_lines_and_columns(text: str) -> None:
    text = text.encode(errors="replace").decode()
    found = cells_of(text)
    assert "".join(cell[0] for cell in found) == visible_flow(text)
    assert sum(len(cell[3]) for cell in found) == len(text.encode())
    line, column, place = 1, 1, 0
    for cell in found:
        assert cell[1:3] == [line, column]
        own, place = text[place : place + 1], place + 1
        line, column = (line + 1, 1) if own == "\n" else (line, column + 1)


def test_a_character_of_several_tokens_is_one_cell() -> None:
    (cell,) = cells_of("橋")
    assert cell[0] == "橋"
    assert len(cell[3]) == 3


def test_text_outside_every_token_becomes_cells_without_numbers() -> None:
    spans = enumerate([(1, 2), (4, 6)])
    pieces = [ComparedSpan(((token(index, -1.0), span),)) for index, span in spans]
    found = drawn("ab  cd ", pieces)
    assert [(cell[0], len(cell[3])) for cell in found] == [
        *(("a", 0), ("b", 1), ("  ", 0), ("cd", 1), (" ", 0)),
    ]


@pytest.mark.parametrize("top", [0, 1, 5])
def test_top_n_sets_the_number_of_alternatives(top: int) -> None:
    first, second = cells_of("ab", top=top)
    assert len(first[3][0]) == 5  # nothing is before it: there are no rows
    rows = second[3][0][5:]
    assert rows == [] if not top else len(rows[0]) == top


def test_actual_token_is_marked_among_its_alternatives() -> None:
    rows = [row(4, 0.5), row(7, 0.3), row(1, 0.1)]
    actual = token(0, math.log(0.3), rank=2, top=rows, id=7)
    ((_, _, _, ((*_, shown),)),) = drawn(
        "a", [ComparedSpan(((actual, (0, 1)),))], top=3
    )
    assert [came for _, _, came in shown] == [0, 1, 0]


def test_a_token_that_is_not_listed_keeps_what_is_known_of_it() -> None:
    listed = replace(token(0, -1.0, rank=2), entropy=EntropyRange(1.5, 2.0))
    beyond = replace(
        token(1, -9.0), rank=RankAbove(500), entropy=EntropyRange(1.5, math.inf)
    )
    placed = ((listed, (0, 1)), (beyond, (1, 2)))
    first, second = drawn("ab", list(alone(placed)), top=2)
    assert first[3][0][2:] == [2, None, None, [], [None, 1.5, 2.0]]
    assert second[3][0][2:] == [None, None, None, [], [500, 1.5, None]]


def hostile_page() -> str:
    """A page of nothing but what wants to act, its name included."""
    facts = {"file": HOSTILE, "own": {"logprob": -math.inf}}
    drawn = cells(HOSTILE, pieces_of(HOSTILE), top_n=5)
    return page(HOSTILE, text_data(drawn, facts))


def test_page_escapes_hostile_text_and_control_characters() -> None:
    whole = hostile_page()
    assert whole.lower().count("<script") == whole.lower().count("</script") == 2
    assert "alert(1)</script" not in whole
    assert not re.search(CONTROLS, whole)
    data = data_of(whole)
    assert "".join(cell[0] for cell in data["text"]["cells"]) == visible(HOSTILE)
    assert data["text"]["own"]["logprob"] is None


def test_csp_allows_only_the_style_and_script_of_the_page() -> None:
    whole = hostile_page()
    (policy,) = re.findall(
        r'http-equiv="Content-Security-Policy" content="(.*?)"', whole
    )
    assert "default-src 'none'" in policy
    (style,) = re.findall("<style>(.*?)</style>", whole, re.DOTALL)
    script = re.findall("<script>(.*?)</script>", whole, re.DOTALL)[-1]
    for kind, part in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?://|url\(|@import|src=|href=", whole)


def test_cells_hold_the_tokens_of_both_models() -> None:
    pairs = zip(pieces_of("ab"), pieces_of("ab"), strict=True)
    pieces = [ComparedSpan(own.tokens, other.tokens) for own, other in pairs]
    first, second = drawn("ab", pieces)
    assert first[3] == first[4]
    assert second[3] == second[4]

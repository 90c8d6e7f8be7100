"""A text is read part by part: in any order, its numbers are those of the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmtui.analysis.branches import ROOT
from lmtui.analysis.scored_document import MOST, Names, PackedRows, ScoredDocument
from lmtui.analysis.summary import Totals
from lmtui.engine.types import Candidate
from tests.fakes import FakeEngine

CANDIDATES = st.builds(
    Candidate,
    id=st.integers(0, 2**31 - 1),
    text=st.text(max_size=3),
    bytes=st.binary(max_size=3),
    logprob=st.floats(max_value=0),
    sampled_prob=st.none(),
    cut=st.none(),
    changed=st.none(),
)


@given(st.lists(CANDIDATES, max_size=20, unique_by=lambda row: row.id))
def test_packed_rows_equal_their_candidates(rows: list[Candidate]) -> None:
    names: Names = {}
    kept = PackedRows(rows, names)
    assert kept == tuple(rows) and len(kept) == len(rows)
    assert kept[:9] == tuple(rows[:9]) and list(kept) == rows
    assert len(names) == len(rows)


@given(st.text(max_size=60), st.integers(4, 20), st.booleans(), st.data())
def test_scored_document_is_the_same_in_any_part_order(
    text: str, context: int, bos: bool, data: st.DataObject
) -> None:
    engine = FakeEngine(context=context, adds_bos=bos)
    encoding = engine.encode(text)
    windows = engine.info.windows(len(encoding.prefix))
    reading = ScoredDocument.of(encoding, windows, engine.describe_tokens(encoding.ids))
    while not reading.is_read:
        place = data.draw(st.integers(0, len(encoding.ids)))
        part = reading.next_part(place)
        unread = [p for p in reading.unread if p.first <= place < p.end]
        assert part == unread[0] if unread else part in reading.unread
        done = reading.scored
        scored = engine.score(
            encoding.ids,
            prefix=encoding.prefix,
            window=windows.window,
            stride=windows.stride,
            start=part.first,
            top_n=20,
        )
        tokens = [token for token in scored if token.index < part.end]
        reading.take(tokens[: len(tokens) // 2])
        reading.take(tokens)
        reading.finish(tokens)
        assert reading.scored == done + part.end - part.first
    whole = tuple(engine.score(encoding.ids, prefix=encoding.prefix, top_n=20))
    assert reading.branches.path(ROOT) == reading.text == whole
    totals = Totals(limit=MOST)
    for token in whole:
        totals.add(token)
    assert reading.totals.ranks == totals.ranks
    assert reading.totals.entropies == totals.entropies
    assert reading.totals.worst() == totals.worst()

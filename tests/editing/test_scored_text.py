"""Numbers stay with their words, whatever is edited around them."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.scored_text import ScoredText
from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.text.text_diff import changed
from lmtui.engine.types import ScoredToken
from lmtui.tui.widgets.line_document import LineDocument

TEXTS = st.text(alphabet="ab é\n漢", max_size=30)


def read(text: str, start: int, end: int) -> ScoredSpan:
    """A tokenizer and a model: words, and characters of three bytes one by one."""
    tokens, spans = [], []
    for match in re.finditer(r"[ \n]*[abé]+|[ \n]+|漢", text):
        a, b = match.span()
        parts = [p.encode() for p in (match[0],)]
        if match[0] == "漢":
            parts = [bytes([byte]) for byte in "漢".encode()]
        for part in parts:
            if a < end and b > start:
                known = bool(a)
                tokens.append(
                    ScoredToken(
                        index=len(tokens),
                        id=0,
                        text=match[0],
                        bytes=part,
                        logprob=-float(a + 1) if known else None,
                        rank=1 if known else None,
                        entropy=0.5 if known else None,
                    )
                )
                spans.append((a, b))
    return ScoredSpan(tuple(tokens), tuple(spans))


class Edited:
    """A text that is edited, and its scores."""

    def __init__(self, text: str) -> None:
        self.document = LineDocument(text)
        self.scored = ScoredText(self.document.lines)
        self.document.on_change = lambda change: self.scored.follow(
            change.top, change.bottom, change.end
        )

    @property
    def text(self) -> str:
        return self.document.text

    def update(self, start: int, end: int, new: str) -> None:
        """Replace a span."""
        at = self.document.get_location_from_index
        self.document.replace_range(at(start), at(end), new)

    def seen(self) -> list[tuple[float | None, bool] | None]:
        """The number of each character, and whether it is stale."""
        found: list[tuple[float | None, bool] | None] = [None] * len(self.text)
        for line, text in enumerate(self.document.lines):
            first, last = self.document.get_index_from_location((line, 0)), 0
            for span in self.scored.spans(line, 0, len(text) + 1):
                assert last <= span.start < span.end <= len(text) + 1
                last = span.end
                for column in range(span.start, span.end):
                    found[first + column] = span.logprob, span.stale
        return found


def check(edited: Edited) -> None:
    """Every token stands on its own text, in order; the sums are those of a list, and
    what is drawn of each character is its token."""
    text, scored = edited.text, edited.scored
    tokens = list(scored.tokens())
    logprobs: list[float | None] = [None] * len(text)
    known = [False] * len(text)
    for p in tokens:
        logprobs[p.start : p.end] = [p.token.logprob] * (p.end - p.start)
        known[p.start : p.end] = [True] * (p.end - p.start)
    seen = edited.seen()
    assert [each is not None for each in seen] == known
    assert [each and each[0] for each in seen] == logprobs
    for p in tokens:
        stale = {each[1] for each in seen[p.start : p.end] if each is not None}
        assert stale == {scored.stale(p.start, p.start + 1)}
    assert all(text[p.start : p.end] == p.token.text for p in tokens)
    assert all(
        a.end <= b.start or (a.start, a.end) == (b.start, b.end)
        for a, b in itertools.pairwise(tokens)
    )
    total = scored.sum()
    some = [p for p in tokens if p.token.logprob is not None]
    assert (total.tokens, total.scored) == (len(tokens), len(some))
    assert total.bytes == sum(len(p.token.bytes) for p in some)
    assert total.characters == sum(p.end - p.start - p.shared for p in some)
    middle = len(text) // 2
    assert scored.sum(0, middle) + scored.sum(middle) == total


def score(edited: Edited, *, seen: tuple[int, int] = (0, 1), most: int = 5) -> None:
    """Ask for what is wanted until nothing is."""
    for _ in range(200):
        part = edited.scored.next_span(*seen, length=most)
        if part is None:
            return
        assert part[0] < part[1] or not edited.text
        edited.scored.put(read(edited.text, *part))
        check(edited)
    raise AssertionError("it never ends")


@given(TEXTS, st.integers(0, 4), st.integers(0, 2), st.sampled_from([1, 5, 100]))
def test_scoring_every_next_span_covers_the_whole_text(
    text: str, first: int, more: int, most: int
) -> None:
    edited = Edited(text)
    first = min(first, text.count("\n"))
    score(edited, seen=(first, first + more), most=most)
    whole = read(text, 0, len(text))
    assert [p.token.logprob for p in edited.scored.tokens()] == [
        token.logprob for token in whole.tokens
    ]
    assert not edited.scored.stale()


@given(TEXTS, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), TEXTS), max_size=6))
def test_tokens_follow_their_text_through_edits(
    text: str, edits: list[tuple[float, float, str]]
) -> None:
    edited = Edited(text)
    scored = edited.scored
    score(edited)
    for place, size, new in edits:
        old = edited.text
        start = int(place * len(old))
        end = start + int(size * (len(old) - start))
        edited.update(start, end, new)
        check(edited)
        first = changed(old, edited.text)[0]
        if edited.text != old:
            below = len(edited.text) > first
            assert not below or scored.stale(first)
        if part := scored.next_span(1, 2, length=4):
            scored.put(read(edited.text, *part))
            check(edited)
    score(edited)
    assert [(p.start, p.end) for p in scored.tokens()] == list(
        read(edited.text, 0, len(edited.text)).spans
    )


def test_edit_makes_only_later_tokens_stale() -> None:
    edited = Edited("aa bb\nab ab\nba ba")
    scored = edited.scored
    score(edited)
    edited.update(8, 8, " b")
    assert not scored.stale(0, 6)
    assert scored.stale(6)
    assert [p.token.text for p in scored.tokens(0, 8)] == ["aa", " bb", "\nab"]
    assert scored.next_span(2, 2, length=100) == (14, 19)
    assert scored.next_span(0, 2, length=100) == (6, 19)


def test_text_behind_the_scores_outdates_none_of_them() -> None:
    edited = Edited("aa bb\nab")
    score(edited)
    edited.update(8, 8, " b")
    assert edited.scored.stale()


def test_extended_word_loses_its_token() -> None:
    for new, stay in (("a", ["aa"]), (" a", ["aa", " bb"])):
        edited = Edited("aa bb")
        score(edited)
        edited.update(5, 5, new)
        assert [p.token.text for p in edited.scored.tokens()] == stay


def test_tokens_of_one_character_are_drawn_as_one() -> None:
    edited = Edited("a漢b\n\nb")
    scored = edited.scored
    score(edited)
    columns = [(span.start, span.end) for span in scored.spans(0, 0, 4)]
    assert columns == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [(span.start, span.end) for span in scored.spans(1, 0, 1)] == [(0, 1)]
    assert [(span.start, span.end) for span in scored.spans(0, 1, 2)] == [(1, 2)]
    assert scored.spans(0, 4, 9) == []
    assert scored.line_sum(0).tokens == 6 and scored.line_sum(1).tokens == 0


def test_forget_drops_every_token() -> None:
    edited = Edited("aa bb")
    score(edited)
    edited.scored.forget()
    assert not list(edited.scored.tokens()) and edited.scored.stale()


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_changed_finds_the_differing_range(a: str, old: str, new: str, b: str) -> None:
    before, after = a + old + b, a + new + b
    first, old_end, new_end = changed(before, after)
    assert before[:first] + after[first:new_end] + before[old_end:] == after
    assert before[:first] == after[:first] and before[old_end:] == after[new_end:]
    assert new_end - first <= len(new) or old_end - first <= len(old)
    if before == after:
        assert first == old_end == new_end


@given(TEXTS, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_range_is_covered_where_every_character_has_a_token(
    text: str, places: list[float]
) -> None:
    first, last, start, end = (round(place * len(text)) for place in places)
    scored = Edited(text).scored
    scored.put(read(text, min(first, last), max(first, last)))
    start, end = min(start, end), max(start, end)
    spans = [(placed.start, placed.end) for placed in scored.tokens()]
    covered = all(any(a <= at < b for a, b in spans) for at in range(start, end))
    assert scored.is_covered(start, end) == covered

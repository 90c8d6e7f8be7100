"""Finding: nothing missed, nothing twice, every place leads somewhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.find import Query, find, replaced
from lmtui.errors import LmtuiError

TEXTS = st.text("aAbB.é\nİßσςΣ漢", max_size=40)
WORDS = st.text("aAbB.é\nİßσςΣ漢", min_size=1, max_size=3)
PATTERNS = st.recursive(
    st.sampled_from(
        ["a", "b", "B", ".", "^", "$", r"\b", r"\w", r"\s", "[ab]", "é", ""]
    ),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({})".format, inner),
        st.builds("(?:{}){}".format, inner, st.sampled_from(["?", "*", "+", "{2}"])),
        st.builds("(?={})".format, inner),
    ),
    max_leaves=5,
)
RUNAWAY = r"(a|aa)+$"


@given(TEXTS, WORDS, st.booleans(), st.booleans())
def test_words_are_found_wherever_they_stand(
    text: str, words: str, whole: bool, regex: bool
) -> None:
    exact = regex or any(map(str.isupper, words))
    spans, at = [], 0
    while at + len(words) <= len(text):
        end = at + len(words)
        joined = re.search(r"\w", text[max(0, at - 1) : at] + text[end : end + 1])
        flags = re.NOFLAG if exact else re.IGNORECASE
        same = re.fullmatch(re.escape(words), text[at:end], flags)
        is_match = same and not (whole and joined)
        spans += [(at, end)] if is_match else []
        at = end if is_match else at + 1
    query = Query(re.escape(words) if regex else words, exact, whole, regex)
    assert list(find(text, query).spans) == spans


@given(TEXTS, WORDS, st.integers(0, 45))
def test_next_and_previous_match_wrap_around(text: str, words: str, place: int) -> None:
    matches = find(text, Query(words))
    starts = [start for start, _ in matches.spans]
    after = [s for s in starts if s >= place] or starts
    before = [s for s in starts if s < place] or starts
    first, last = matches.at_or_after(place), matches.before(place)
    assert (None if first is None else matches.spans[first][0]) == next(
        iter(after), None
    )
    assert (None if last is None else matches.spans[last][0]) == (before or [None])[-1]


# Options.


@given(TEXTS, PATTERNS, st.booleans())
def test_a_regular_expression_finds_what_re_finds(
    text: str, pattern: str, exact: bool
) -> None:
    query = Query(pattern, match_case=exact, regex=True)
    flags = re.MULTILINE | (0 if query.case_matters else re.IGNORECASE)
    same = [match.span() for match in re.finditer(pattern, text, flags)]
    assert list(find(text, query).spans) == (same if pattern else [])


@given(TEXTS, PATTERNS, st.sampled_from([r"<\g<0>>", r"\\\n", "x", ""]))
def test_replacing_by_a_template_is_what_re_does(
    text: str, pattern: str, by: str
) -> None:
    query = Query(pattern, match_case=True, regex=True)
    matches = find(text, query)
    texts = matches.replacements(by, range(len(matches)))
    same = re.sub(pattern, by, text, flags=re.MULTILINE) if pattern else text
    assert replaced(text, matches.spans, texts) == same
    for number, each in enumerate(texts):
        assert matches.replacements(by, [number]) == [each]


@given(TEXTS, PATTERNS, st.integers(0, 45), st.integers(0, 45))
def test_ranges_and_positions_hold_for_matches_of_any_length(
    text: str, pattern: str, low: int, high: int
) -> None:
    matches = find(text, Query(pattern, regex=True))
    spans = matches.spans
    over = [span for span in spans if span[0] < high and span[1] > low]
    assert list(matches.within(low, high)) == over
    here = matches.at(low)
    touches = [span for span in spans if low in span]
    assert (here is None) == (not touches)
    if here is not None:
        assert low in spans[here]
        assert spans[here][0] == low or low not in [start for start, _ in spans]


@pytest.mark.parametrize(
    ("query", "matters"),
    [
        (Query("the"), False),
        (Query("The"), True),
        (Query("the", match_case=True), True),
        (Query(r"\S+\W(?P<Name>a)", regex=True), False),
        (Query(r"\S+The", regex=True), True),
        (Query(r"\S"), True),
    ],
)
def test_case_is_smart(query: Query, matters: bool) -> None:
    assert query.case_matters is matters


@pytest.mark.parametrize(
    ("pattern", "text", "spans"),
    [
        ("(?x) a # comment", "ab a", [(3, 4)]),
        ("(?i)A|B", "a bb b", [(0, 1), (5, 6)]),
        ("foo|foobar", "foobar foo", [(0, 6), (7, 10)]),
        ("^a$", "a\nba\na", [(0, 1), (5, 6)]),
    ],
)
def test_whole_words_of_a_regular_expression(
    pattern: str, text: str, spans: list[tuple[int, int]]
) -> None:
    query = Query(pattern, whole_words=True, regex=True)
    assert list(find(text, query).spans) == spans


@given(
    st.text("ab()[]{}*+?|^$.\\<>=!:PLN1,-&#x", max_size=12),
    st.text("\\g<>1az", max_size=6),
)
def test_any_regular_expression_matches_or_is_refused(pattern: str, by: str) -> None:
    query = Query(pattern, regex=True)
    try:
        matches = find("ab\nba", query, 0.5)
        texts = matches.replacements(by, range(len(matches)))
        assert len(texts) == len(matches)
    except LmtuiError as error:
        assert error.title


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("(", "missing ), character 2"), ("*", "nothing to repeat, character 1"),
     ("(" * 5000, "too many parentheses")],
)  # fmt: skip
def test_an_invalid_regular_expression_says_why(pattern: str, reason: str) -> None:
    with pytest.raises(LmtuiError) as caught:
        find("text", Query(pattern, regex=True))
    assert caught.value.title == reason


@pytest.mark.parametrize(
    ("by", "reason"),
    [(r"\2", "there is no such group"),
     (r"\g<n>", "there is no such group"),
     ("\\", "bad escape (end of pattern), character 2")],
)  # fmt: skip
def test_an_invalid_template_says_why(by: str, reason: str) -> None:
    matches = find("a", Query("(?P<x>a)", regex=True))
    assert matches.replacements(r"\g<x>\1", [0]) == ["aa"]
    with pytest.raises(LmtuiError) as caught:
        matches.replacements(by, [0])
    assert caught.value.title == reason


def test_a_runaway_regular_expression_is_cut_off_and_keeps_earlier_matches() -> None:
    text = "aab " + "a" * 60 + "b"
    matches = find(f"a\n{text}", Query(RUNAWAY, regex=True), 0.05)
    assert matches.cut_off and matches.spans == [(0, 1)]

"""Suggestions end when they should, and nothing wrong is ever shown."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lmtui.engine.document.suggestion import (
    SuggestionBuilder,
    SuggestionRules,
    loop_start,
)
from lmtui.engine.document.words import can_cut, word_end

FREE = SuggestionRules(max_tokens=1000, seconds=None, min_prob=None)
RULE = SuggestionRules(seconds=None)
assert RULE.min_prob is not None


def suggest(
    tokens: Sequence[str | bytes | tuple[str, float]],
    rules: SuggestionRules = RULE,
    after: str = "",
    done: bool = True,
    **how: Any,
) -> str:
    """What becomes of these tokens, if the model then stops."""
    writing = SuggestionBuilder(rules, after, **how)
    for token in tokens:
        text, prob = token if isinstance(token, tuple) else (token, 0.9)
        if not writing.feed(text if isinstance(text, bytes) else text.encode(), prob):
            break
    return writing.finish(done=done)


def ticking(step: float) -> Any:
    """A clock that goes on by `step` seconds each time it is read."""
    ticks = count()
    return lambda: next(ticks) * step


def test_end_token_ends_the_suggestion_as_it_is() -> None:
    assert suggest([" is", " Par", "is"]) == " is Paris"
    assert suggest([]) == ""
    assert suggest([" is ", " "]) == " is"


def test_suggestion_ends_before_all_of_it_is_too_improbable() -> None:
    assert suggest([" is", " Paris", (" and", 0.04)]) == " is Paris"
    assert suggest([" is", " Par", ("is", 0.04)]) == " is"
    assert suggest([(" is", 0.04)]) == ""
    assert suggest([(" is", 0.05 - 1e-9)]) == ""
    assert suggest([(" is", 0.05)]) == " is"
    sinking = [(" one", 0.5), (" two", 0.2), (" three", 0.4), (" four", 0.9)]
    assert suggest(sinking) == " one two"


@given(st.lists(st.floats(0.01, 1), max_size=9))
def test_probability_of_what_is_suggested_is_at_least_min_prob(
    probs: list[float],
) -> None:
    tokens = [(f" w{n}", prob) for n, prob in enumerate(probs)]
    text = suggest(tokens)
    shown = text.split()
    assert shown == [word.strip() for word, _ in tokens][: len(shown)]
    if shown:
        assert math.prod(probs[: len(shown)]) >= RULE.min_prob
    if len(shown) < len(probs):
        assert math.prod(probs[: len(shown) + 1]) < RULE.min_prob


def test_length_and_context_leave_whole_words() -> None:
    rules = SuggestionRules(max_tokens=3, seconds=None)
    assert suggest([" a", " long", " wor", "d"], rules) == " a long"
    assert suggest([" in", "com", "ple"], rules) == ""
    assert suggest([" so", " full", " it"], done=False) == " so full"
    cut = suggest([" so", " far"], done=False)
    assert cut == " so"


def test_time_limit_waits_for_a_whole_word() -> None:
    rules = SuggestionRules(seconds=0.6)
    slow = [" incom", "prehen", "sible", " words", " come"]
    ended = suggest(slow, rules, clock=ticking(0.7))
    assert ended == " incomprehensible"
    in_time = suggest(slow, rules, clock=ticking(0.1))
    assert in_time == " incomprehensible words come"


def test_suggestion_without_rules_keeps_every_token() -> None:
    tokens = [("\n", 0.001), (" of", 0.001), (" l", 0.01), ("ine", 0.001)]
    assert suggest(tokens, FREE, clock=ticking(9)) == "\n of line"


def test_suggestion_has_only_whole_characters() -> None:
    grin = "😀".encode()
    assert suggest([b"ok ", grin[:2], grin[2:]]) == "ok 😀"
    assert suggest([b"ok ", grin[:2]]) == "ok"
    broken = suggest([b"ok ", b"so\xff", b"x"])
    assert broken == "ok"


@pytest.mark.parametrize(
    ("tokens", "after", "text"),
    [
        (["):"], "):\n    pass", ""),
        ([" ):"], "):\n    pass", ""),
        (["return", " x"], "\n    return x\n", ""),
        (["a", ", b", ")"], ")", "a, b"),
        (["a", ", b", "):"], "):\n", "a, b"),
        (["a", ", b", "): #", " x"], "):\n", "a, b"),
        (["(a)", " + (b)"], ")", "(a) + (b"),
        ([" quickly", " jumps"], " jumps over", " quickly"),
        (["quickly", " jumps"], "jumps over", "quickly "),
        (["quickly", " jumps", " over", " it"], "jumps over", "quickly "),
        (["The", " first"], "time", ""),
        (["The", " first"], " time", "The first"),
        (["ce", " is"], "ce is Paris.", ""),
        (["ce", " has"], "ce is Paris.", ""),
        (["(a", ", b"], " + c", "(a, b"),
    ],
)
def test_suggestion_does_not_repeat_the_following_text(
    tokens: list[str], after: str, text: str
) -> None:
    ghost = suggest(tokens, after=after)
    assert ghost == text


def test_suggestion_ends_where_it_repeats_the_next_line() -> None:
    tokens = ["x = 1\n", "    return x\n", "more", " and"]
    repeated = suggest(tokens, after="\n  return x\n")
    assert repeated == "x = 1"
    alike = suggest(tokens, after="\n  return y\n")
    assert alike == "x = 1\n    return x\nmore and"


def test_long_repetition_ends_the_suggestion() -> None:
    after = "jumps over the lazy dog and sleeps"
    tokens = ["then ", "jumps over the lazy", " dog and sleeps", " at", " once"]
    assert suggest(tokens, after=after) == "then "


def test_an_infill_may_end_within_a_word() -> None:
    assert suggest(["ick"], after="ly", sees_after=True) == "ick"
    unsure = suggest(["ick", (" x", 0.01)], after="ly", sees_after=True)
    assert unsure == ""
    assert suggest(["a + "], after="b", sees_after=True) == "a + "
    assert suggest(["a"], after="b") == ""


def test_spare_following_off_allows_repetition() -> None:
    rules = SuggestionRules(seconds=None, spare_following=False)
    assert suggest(["):"], rules, after="):") == "):"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("the cat", 4),
        ("the cat ", 8),
        ("don't", 0),
        ("snake_case(", 11),
        ("costs 3.14", 6),
        ("costs 3.", 6),
        ("costs 3. ", 9),
        ("one, two", 5),
        ("日本語", 2),
        ("a日", 1),
        ("ok 👩‍", 3),
        ("ok 👩‍👩", 3),
        ("cafe\u0301", 0),
        ("ok. e\u0301 x", 7),
        ("", 0),
    ],
)
def test_word_end_never_cuts_a_word(text: str, end: int) -> None:
    assert word_end(text, len(text)) == end


TOKENS = st.lists(
    st.tuples(
        st.sampled_from([" a", " b", "ab ", *"ab \n).3'é日🏽"]),
        st.sampled_from([0.01, 0.2, 0.5, 0.9]),
    ),
    max_size=12,
)
RULES = st.builds(
    SuggestionRules,
    max_tokens=st.integers(1, 12),
    seconds=st.sampled_from([None, 0.0, 2.5]),
    min_prob=st.sampled_from([None, 0.05]),
)
AFTER = st.text("ab )\n3é日", max_size=12)


def pieces(
    tokens: Sequence[tuple[str, float]], size: int
) -> Iterator[tuple[bytes, float]]:
    """The tokens' bytes, cut anew: a token is no whole character then."""
    data = "".join(text for text, _ in tokens).encode()
    probs = [prob for _, prob in tokens] or [1.0]
    for index, start in enumerate(range(0, len(data), size)):
        yield data[start : start + size], probs[index % len(probs)]


@example(
    [("a", 0.01), (")", 0.01), (")", 0.01)],
    SuggestionRules(max_tokens=3),
    ")",
    True,
    False,
    1,
)
@given(TOKENS, RULES, AFTER, st.booleans(), st.booleans(), st.integers(1, 5))
def test_suggestion_only_grows_and_never_repeats_what_follows(
    tokens: list[tuple[str, float]],
    rules: SuggestionRules,
    after: str,
    done: bool,
    sees: bool,
    size: int,
) -> None:
    writing = SuggestionBuilder(rules, after, sees_after=sees, clock=ticking(1))
    shown, written, going = [""], b"", True
    for data, prob in pieces(tokens, size):
        written += data
        going = writing.feed(data, prob)
        shown.append(writing.shown)
        if not going:
            break
    ghost = writing.finish(done=done)
    growing = itertools.pairwise([*shown, ghost])
    assert all(later.startswith(earlier) for earlier, later in growing)
    assert written.startswith(ghost.encode())
    is_cut = not (done and going)
    check_fits(ghost, after, written.decode(errors="ignore"), is_cut=is_cut)


def check_fits(text: str, after: str, written: str, *, is_cut: bool) -> None:
    """It can stand between what it was written for."""
    if not text:
        return
    assert text.strip()
    said, following = re.sub(r"\s", "", text), re.sub(r"\s", "", after)
    assert not following.startswith(said)
    if not after or after[0].isspace():
        assert text == text.rstrip()
    if is_cut:
        assert can_cut(written + "?", len(text)) or written.startswith(text + after[:1])
    cut = written[len(text) :]
    if after and not after[0].isalnum() and not (cut and after.startswith(cut)):
        assert not any(after.startswith(text[i:]) for i in range(len(text)))


@given(TOKENS, AFTER)
def test_only_a_repetition_is_cut_from_a_finished_suggestion(
    tokens: list[tuple[str, float]], after: str
) -> None:
    text = "".join(text for text, _ in tokens)
    ghost = suggest([text], FREE, after)
    cut = re.sub(r"\s", "", text[len(ghost) :])
    following = re.sub(r"\s", "", after)
    if ghost and cut and loop_start("", f"{text} ") is None:
        assert following.startswith(cut) or cut.startswith(following[:2])


@pytest.mark.parametrize(
    ("before", "written", "shown"),
    [
        ("He said:", ' "I am God, I am God, I am God, I am', ' "I am God,'),
        ("- [ ] write to Anna\n- [ ]", " write to Anna", ""),
        ("- [ ] write to Anna\n- [ ]", " call Bob", " call Bob"),
        ("The cat sat on the mat.\n\n", "The cat sat on the mat.", ""),
        ("one two three.", " One two three.", " One two three."),
        ("one two three.", " one two three four", " one two three four"),
        ("one two three.", " one two three one", ""),
        ("| a | b |\n", "| --- | --- | --- |", "| --- | --- | --- |"),
        ("self.a = a\n", "self.b = b\n", "self.b = b"),
        ("- [ ] buy milk\n- [ ]", " buy eggs\n", " buy eggs"),
        ("| 0 | 1 |\n", "| 0 | 2 |\n", "| 0 | 2 |"),
    ],
)
def test_suggestion_ends_before_it_repeats_four_words(
    before: str, written: str, shown: str
) -> None:
    tokens = re.findall(r"\W*\w+|\W+", written)
    assert suggest(tokens, FREE, before=before) == shown
    assert suggest([written], FREE, before=before) == shown


REPETITIVE = st.lists(
    st.tuples(st.sampled_from(["a", "ab", "b", "-"]), st.sampled_from("  ,\n")),
    max_size=16,
).map(lambda parts: "".join(f"{word}{gap}" for word, gap in parts))


@given(REPETITIVE, REPETITIVE, st.integers(1, 5))
def test_suggestion_never_repeats_four_words_nor_takes_back_a_shown_one(
    before: str, written: str, size: int
) -> None:
    writing = SuggestionBuilder(FREE, before=before)
    shown = [""]
    for data, prob in pieces([(written, 1.0)], size):
        if not writing.feed(data, prob):
            break
        shown.append(writing.shown)
    ghost = writing.finish(done=True)
    growing = itertools.pairwise([*shown, ghost])
    assert all(later.startswith(earlier) for earlier, later in growing)
    words = [word.strip(",-") for word in f"{before}{ghost}".split()]
    typed = len(before.split())
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    for index in range(max(0, typed - 3), len(runs)):
        assert runs[index] not in runs[:index] or runs[index].count("") > 2
    start = loop_start(before, f"{written} ")
    assert ghost == written[:start].rstrip()

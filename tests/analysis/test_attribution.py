"""What each part of a text does to the probability of what follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.analysis.attribution import (
    LISTED,
    NOTHING,
    Attribution,
    Effect,
    Granularity,
)
from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.engine.text.detokenizer import spans_of
from lmtui.engine.types import ChatTurn, Encoding
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.load import load
from lmtui.notation import LN2
from tests.engine import tiny
from tests.examples import examples
from tests.fakes import FakeEngine

TEXT = "The cat was hungry. Die Möwe schlief!\n\nSo the cat sat on the mat, and ate"


def naive(family: str, context: list[int], target: list[int]) -> float:
    """log P(target | context) by a pass of its own."""
    logprobs = tiny.reference_logprobs(family, [*context, *target])
    rows = logprobs[len(context) - 1 : -1]
    return sum(float(row[id_]) for row, id_ in zip(rows, target, strict=True))


def attribution(engine: LocalEngine, text: str, target: str, bos: str) -> Attribution:
    """Of a part of a text."""
    encoding = engine.encode(text, bos=bos)  # type: ignore[arg-type]
    start = text.rindex(target)
    return Attribution(engine, text, encoding, start, start + len(target))


def units_of(subject: Attribution, by: str) -> list[tuple[int, int]]:
    """Start and end of each part that is left out, in order."""
    effects = subject.effects(by)  # type: ignore[arg-type]
    return [(effect.start, effect.end) for effect in effects][::-1]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@given(
    contexts=st.lists(
        st.lists(st.integers(3, 9), min_size=1, max_size=24), min_size=1, max_size=4
    ),
    target=st.lists(st.integers(3, 9), min_size=1, max_size=6),
)
@settings(max_examples=examples(6, 100))
def test_target_logprob_is_that_of_a_fresh_pass(
    family: str, contexts: list[list[int]], target: list[int]
) -> None:
    engine = tiny.engine(family)
    for context in contexts:  # one after the other, with what they share
        found = engine.target_logprob(context, target)
        assert found == pytest.approx(naive(family, context, target), abs=1e-4)


def test_engine_that_reads_one_context_after_another_runs_only_what_differs() -> None:
    engine = tiny.engine("llama")
    ids, runs = list(range(3, 103)), []
    run = engine.backend.hidden_states

    def counted(part, *given, **how):  # type: ignore[no-untyped-def]
        runs.append(len(part))
        return run(part, *given, **how)

    engine.backend.hidden_states = counted  # type: ignore[method-assign]
    for index in range(99, 89, -1):
        engine.target_logprob([*ids[:index], *ids[index + 1 :]], [5])
    # All at first, then what follows the part that is left out (a token at the least).
    assert runs == [99, *range(1, 10)]


def test_effects_are_differences_of_logprobs() -> None:
    for bos in ("yes", "no"):
        subject = attribution(tiny.engine("llama"), TEXT, " mat", bos)
        encoding = tiny.engine("llama").encode(TEXT, bos=bos)  # type: ignore[arg-type]
        prefix, ids = list(encoding.prefix), list(encoding.ids)
        first = next(i for i, s in enumerate(encoding.spans) if s == subject.span)
        target = [ids[first]]
        whole = naive("llama", [*prefix, *ids[:first]], target)
        assert subject.logprob == pytest.approx(whole, abs=1e-4)
        if prefix:
            alone = naive("llama", prefix, target)
            assert subject.logprob_without_all == pytest.approx(alone, abs=1e-4)
        else:
            assert subject.logprob_without_all is None
        effects = list(subject.effects("token"))
        assert [(e.start, e.end) for e in effects[::-1]] == [*encoding.spans[:first]]
        for index, effect in enumerate(reversed(effects)):
            kept = [*prefix, *ids[:index], *ids[index + 1 : first]]
            expected = whole - naive("llama", kept, target)
            assert effect.bits == pytest.approx(expected / LN2, abs=3e-4)


@pytest.mark.parametrize("by", ["word", "sentence", "line", "turn"])
def test_text_without_a_part_is_tokenized_anew(by: Granularity) -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    target = engine.encode(" mat").ids
    for effect in subject.effects(by):
        left = TEXT[: effect.start] + TEXT[effect.end : TEXT.rindex(" mat")]
        context = [*engine.encode(left, bos="yes").prefix, *engine.encode(left).ids]
        expected = naive("llama", context, list(target))
        assert effect.logprob_without == pytest.approx(expected, abs=1e-4)


def test_leaving_out_one_unit_after_another_adds_up_to_all_of_them() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    encoding = engine.encode(TEXT, bos="yes")
    first = next(i for i, s in enumerate(encoding.spans) if s == subject.span)
    kept, steps, before = list(encoding.ids[:first]), [], subject.logprob
    assert before is not None and subject.logprob_without_all is not None
    while kept:
        kept.pop(len(kept) // 2)
        context = [*encoding.prefix, *kept]
        now = engine.target_logprob(context, [encoding.ids[first]])
        steps.append(before - now)
        before = now
    whole = (subject.logprob or 0) - subject.logprob_without_all
    assert sum(steps) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("by", ["word", "sentence", "line"])
@given(text=st.text("ab .!\n\t“日", min_size=1, max_size=60))
@settings(max_examples=examples(60, 2000))
def test_units_are_all_of_the_text_but_white_space(by: str, text: str) -> None:
    engine = FakeEngine()
    text += "x"
    encoding = engine.encode(text)
    subject = Attribution(engine, text, encoding, len(text) - 1, len(text))
    units = units_of(subject, by)
    ends = [0, *(end for _, end in units)]
    starts = [*(start for start, _ in units), subject.span[0]]
    for end, start in zip(ends, starts, strict=True):
        assert not text[start:end].strip()  # what the first two share
        assert not text[end:start].strip()


def test_sentences_and_lines() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "no")
    assert [TEXT[a:b] for a, b in units_of(subject, "sentence")] == [
        "The cat was hungry. ",
        " Die Möwe schlief!",
        "\n\nSo the cat sat on the",
    ]
    assert [TEXT[a:b] for a, b in units_of(subject, "line")] == [
        "The cat was hungry. Die Möwe schlief!\n\n",
        "\n\nSo the cat sat on the",
    ]


@given(before=st.text("ab .\n", max_size=20), part=st.text("ab\u00e9", min_size=1))
@settings(max_examples=examples(60, 2000))
def test_same_words_have_one_effect_as_word_sentence_line_and_turn(
    before: str, part: str
) -> None:
    """A part with its space: what is left is the text as if it had not been there."""
    engine = FakeEngine()
    lead = before.rstrip()
    text = f"{lead}{'.' if lead else ''}\n\n{part}\n\nthen x"
    text = text if lead else text.lstrip()
    subject = Attribution(engine, text, engine.encode(text), len(text) - 1, len(text))
    start = text.rindex(part, 0, len(text) - len("\n\nthen x"))
    kinds: tuple[Granularity, ...] = ("word", "sentence", "line")
    found = [
        next(
            e
            for e in subject.effects(by)
            if e.start <= start < e.end and part in e.text
        )
        for by in kinds
    ]
    assert len({(effect.start, effect.end, effect.bits) for effect in found}) == 1
    left = text[: found[0].start] + text[found[0].end :]
    assert left == f"{lead}.\n\nthen x" if lead else left == "then x"
    alone = engine.target_logprob(engine.encode(left[:-1]).ids, subject.target)
    assert found[0].logprob_without == pytest.approx(alone, abs=1e-4)


def test_first_unit_without_which_nothing_is_read_has_no_effect() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, "cat sat", " sat", "no")
    [effect] = subject.effects("word")
    assert (effect.logprob_without, effect.bits) == (None, None)


def test_context_longer_than_the_models_is_cut_at_its_beginning() -> None:
    engine = tiny.engine("llama", context=16)
    subject = attribution(engine, "the cat sat on the mat " * 20, " mat", "yes")
    assert len(units_of(subject, "token")) == 16 - 1 - 1
    assert len([*subject.effects("word")]) > 2


def test_attribution_ends_within_a_step_of_a_cancellation() -> None:
    engine = tiny.engine("llama")
    subject = attribution(engine, TEXT, " mat", "yes")
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 30

    with pytest.raises(Cancelled), cancelled_when(stop):
        list(subject.effects("token"))
    assert len(asked) == 31


def test_place_without_a_token_is_refused() -> None:
    with pytest.raises(LmtuiError, match="there is no token"):
        Attribution(FakeEngine(), "ab", FakeEngine().encode("ab"), 2, 3)


def test_target_that_does_not_fit_is_refused() -> None:
    engine = tiny.engine("llama", context=8)
    with pytest.raises(LmtuiError, match="does not fit the context"):
        engine.target_logprob([5] * 6, [5] * 6)


TURNS = (
    ChatTurn("system", "You are the user's cat."),
    ChatTurn("user", "user"),
    ChatTurn("assistant", "the dog sat on the log"),
    ChatTurn("user", "assistant\nthe mat? The log!"),
)


def answered(
    engine: LocalEngine,
    turns: tuple[ChatTurn, ...] = TURNS,
    answer: str = "the cat sat on the mat",
    target: str = " mat",
    ids: tuple[int, ...] | None = None,
    files: tuple[tuple[str, int, int], ...] = (),
) -> Attribution:
    """Of a part of an answer, in a conversation; the last turn has the files."""
    prompt = engine.prompt(turns)
    ids = ids or engine.encode(answer, bos="no").ids
    data = [token.bytes for token in engine.describe_tokens(ids)]
    encoding = Encoding(ids, spans_of(answer, data), prompt.ids)
    start = answer.rindex(target)
    *others, last = turns
    return Attribution(
        engine,
        answer,
        encoding,
        start,
        start + len(target),
        turns=[*((turn, ()) for turn in others), (last, files)],
    )


def texts(subject: Attribution) -> list[str]:
    """The texts of its sources."""
    return [subject.text[source.start : source.end] for source in subject.sources]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_part_of_a_turn_is_left_out_as_if_it_had_not_been_said(family: str) -> None:
    engine = tiny.engine(family)
    subject = answered(engine)
    assert texts(subject) == [*(t.content for t in TURNS), "the cat sat on the"]
    said = list(engine.encode("the cat sat on the", bos="no").ids)
    target = list(engine.encode(" mat", bos="no").ids)
    whole = naive(family, [*engine.prompt(TURNS).ids, *said], target)
    assert subject.logprob == pytest.approx(whole, abs=1e-4)
    effects = [*subject.effects("turn"), *subject.effects("word")]
    compared = 0
    for effect in effects:
        turn = subject.sources[effect.source].turn
        if turn is None:
            continue
        content = TURNS[turn].content
        left = content[: effect.start] + content[effect.end :]
        if left != left.strip():  # the template would strip it
            continue
        turns = list(TURNS)
        turns[turn] = ChatTurn(TURNS[turn].role, left)
        expected = naive(family, [*engine.prompt(turns).ids, *said], target)
        assert effect.logprob_without == pytest.approx(expected, abs=1e-4)
        assert not effect.as_tokens
        compared += 1
    assert compared > 12


@given(
    contents=st.lists(
        st.text("us er\nasitn<|m_d>é", min_size=1).filter(str.strip),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=examples(40, 1000))
def test_turns_are_found_where_they_stand_whatever_they_say(
    contents: list[str],
) -> None:
    roles = ("user", "assistant")
    turns = [ChatTurn(roles[i % 2], text) for i, text in enumerate(contents)]  # type: ignore[arg-type]
    subject = answered(tiny.engine("llama"), tuple(turns))
    assert texts(subject)[:-1] == [text.strip() for text in contents]
    for source, turn in zip(subject.sources, turns, strict=False):
        first = len(turn.content) - len(turn.content.lstrip())
        assert source.start - source.offset == first


def test_turns_that_were_dropped_from_the_prompt_are_not_looked_for() -> None:
    engine = tiny.engine("llama")
    kept = (TURNS[0], TURNS[3])
    prompt = engine.prompt(kept)
    encoding = engine.encode("the mat", bos="no")
    encoding = Encoding(encoding.ids, encoding.spans, prompt.ids)
    subject = Attribution(
        engine, "the mat", encoding, 3, 7, turns=[(turn, ()) for turn in TURNS]
    )
    assert [source.name for source in subject.sources] == ["system", "user 3", ""]
    assert texts(subject) == [*(turn.content for turn in kept), "the"]


@pytest.mark.parametrize("cut", [2, 4])
def test_messages_are_those_that_were_sent_after_the_oldest_were_dropped(
    cut: int,
) -> None:
    """Also where they all say the same, and the template writes a system text."""
    engine = FakeEngine()
    said = [ChatTurn("user", "hi"), ChatTurn("assistant", "ok")] * 3
    for turns in (said, [ChatTurn("system", "Be brief."), *said]):
        first = len(turns) - len(said)
        sent = [*turns[:first], *turns[first + cut : -1]]
        encoding = engine.encode("hello", bos="no")
        encoding = Encoding(encoding.ids, encoding.spans, engine.prompt(sent).ids)
        subject = Attribution(
            engine, "hello", encoding, 4, 5, turns=[(turn, ()) for turn in turns[:-1]]
        )
        assert texts(subject) == [*(turn.content for turn in sent), "hell"]
        numbers = [source.turn for source in subject.sources[first:-1]]
        assert numbers == [*range(first + cut, len(turns) - 1)]


def test_prompt_of_other_messages_has_no_parts() -> None:
    engine = FakeEngine()
    encoding = engine.encode("hello", bos="no")
    prompt = engine.prompt([ChatTurn("user", "other")])
    encoding = Encoding(encoding.ids, encoding.spans, prompt.ids)
    turns = [(ChatTurn("user", "hi"), ())]
    subject = Attribution(engine, "hello", encoding, 0, 1, turns=turns)
    assert not subject.sources and not [*subject.effects("word")]


def test_file_in_a_message_is_a_part_of_its_own() -> None:
    content = "Read this.\n\n```md a.md\nthe mat\n```"
    span = ("a.md", content.index("```"), len(content))
    turns = (ChatTurn("user", content),)
    subject = answered(tiny.engine("llama"), turns, files=(span,))
    names = [(source.name, source.is_file) for source in subject.sources]
    assert names == [("user 1", False), ("a.md", True), ("", False)]
    by_turn = {e.source: e for e in subject.effects("turn")}
    assert by_turn[0].text == "Read this.\n\n"
    assert by_turn[1].text == "\n\n" + content[span[1] :]  # with its space
    assert by_turn[1].end == len(content)


def test_drawn_tokens_that_the_tokenizer_does_not_make_are_left_out_as_they_are() -> (
    None
):
    engine = tiny.engine("llama")
    letters = tuple(engine.encode(c, bos="no").ids[0] for c in "the cat")
    ids = (*letters, *engine.encode(" mat", bos="no").ids)
    subject = answered(engine, answer="the cat mat", ids=ids)
    own = [e for e in subject.effects("word") if not subject.sources[e.source].name]
    assert [(e.text, e.as_tokens) for e in own] == [(" cat", True), ("the ", True)]
    kept = [*engine.prompt(TURNS).ids, *letters[:3]]
    expected = naive("llama", kept, list(ids[len(letters) :]))
    assert own[0].logprob_without == pytest.approx(expected, abs=1e-4)
    assert list(subject.ids_without(own[0])) == kept


def test_ids_without_are_those_that_the_effect_is_of() -> None:
    engine = tiny.engine("llama")
    for by in ("turn", "word", "token"):
        subject = answered(engine)
        for effect in subject.effects(by):  # type: ignore[arg-type]
            context = subject.ids_without(effect)
            found = engine.target_logprob(context, subject.target)
            assert effect.logprob_without == pytest.approx(found, abs=1e-4)


def test_what_was_computed_once_is_not_computed_again() -> None:
    engine = FakeEngine()
    text = "a b. c d. e"
    subject = Attribution(engine, text, engine.encode(text), 10, 11)
    assert len(list(subject.effects("sentence"))) == subject.planned
    asked = len(engine.calls)
    list(subject.effects("sentence"))
    assert [name for name, _ in engine.calls[asked:]].count("target") == 0


def test_list_has_the_greatest_and_counts_the_others() -> None:
    engine = FakeEngine()
    text = "a b"
    subject = Attribution(engine, text, engine.encode(text), 2, 3)

    def effect(at: int, bits: float | None, by: Granularity = "word") -> Effect:
        return Effect(at, at + 1, "a", -1.0, bits, by, 0, None, as_tokens=False)

    small = [effect(at, NOTHING / 2) for at in range(3)]
    some = [effect(3, -2.0), effect(4, 3.0), effect(5, None)]
    assert subject.listed([*small, *some]) == (
        [some[1], some[0]],
        "3 more below 0.05 bits",
    )
    many = [effect(at, 1.0 + at) for at in range(LISTED + 2)]
    listed, hidden = subject.listed(many)
    assert listed == many[: -LISTED - 1 : -1]
    assert hidden == "2 more of up to 2.0 bits"
    assert subject.listed(small[:1]) == ([], "1 more below 0.05 bits")
    # That of all of the target's own text comes last, however great it is.
    own = effect(6, 30.0, "turn")
    assert subject.listed([own, *some])[0] == [some[1], some[0], own]
    # An effect is listed where it is one on the other model.
    others = {small[1]: effect(1, -9.0), some[2]: effect(5, 0.01)}
    assert subject.listed(small, others)[0] == [small[1]]


@pytest.mark.real
def test_effects_of_the_default_model_are_those_of_fresh_passes(
    default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    engine = LocalEngine(load())
    text = "The cat was hungry. It was raining in Paris. The cat ate the mouse"
    subject = attribution(engine, text, " mouse", "yes")
    effects = list(subject.effects("sentence"))
    for effect in effects:
        left = text[: effect.start] + text[effect.end : -len(" mouse")]
        before = engine.encode(left, bos="yes")
        scored = engine.score(
            engine.encode(" mouse").ids, prefix=(*before.prefix, *before.ids)
        )
        expected = sum(token.logprob or 0.0 for token in scored)
        assert effect.logprob_without == pytest.approx(expected, abs=1e-4)
    strongest = max(effects, key=lambda effect: effect.bits or 0.0)
    assert text[strongest.start : strongest.end] == " The cat ate the"

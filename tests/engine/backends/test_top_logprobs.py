"""A model whose server lists only some tokens: exact where it can be, and a range or
nothing where it can't."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from lmtui.cli.inspect.pairs import read_pairs, write_pairs
from lmtui.cli.output import score_fields
from lmtui.engine.backends.top_logprobs import TopLogprobsBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_served
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.files import read_file
from lmtui.models.remote import load as remote_load
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.dialects import DIALECTS as TABLE
from lmtui.partial import Entropy, EntropyRange
from tests.byte_level import trained
from tests.engine import tiny
from tests.models.remote.foreign import (
    VLLM_ORDER,
    Foreign,
    LlamaServer,
    Vllm,
    foreign,
)

ROWS = 40
DIALECTS = Vllm, LlamaServer
TEXT = "the cat sat on the mat and the dog sat on the log, naïve façade"
DRAWN = SamplingSettings(
    temperature=0.9, top_k=30, top_p=0.95, min_p=0.01, seed=5, max_tokens=9
)
Both = Callable[..., tuple[LocalEngine, LocalEngine]]


@pytest.fixture(scope="module", autouse=True)
def few_rows(shared_home: Path) -> Iterator[None]:
    """Servers that list a tenth of the tiny vocabulary."""
    few = {name: replace(each, counts=(ROWS,)) for name, each in TABLE.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_load, "DIALECTS", few)
        yield


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def opened_at(url: str, server: ServerOptions = ServerOptions()) -> LocalEngine:
    engine = open_served(url, server)
    assert isinstance(engine, LocalEngine)
    return engine


@pytest.fixture(scope="module")
def both(tokenizer: str) -> Iterator[Both]:
    """A tiny model, and the same one behind a server of a kind, each opened once."""
    with ExitStack() as stack:

        @cache
        def opened(
            kind: type[Foreign], *, name: str = ""
        ) -> tuple[LocalEngine, LocalEngine]:
            url, _ = stack.enter_context(foreign(kind, tiny.engine("llama")))
            server = ServerOptions(tokenizer=tokenizer)
            there = opened_at(f"{url}#{name}" if name else url, server)
            assert isinstance(there.backend, TopLogprobsBackend)
            return tiny.engine("llama"), there

        yield opened


def assert_in_range(entropy: Entropy | None, other: Entropy | None) -> None:
    """An entropy is a range that the whole distribution's lies in."""
    assert isinstance(entropy, EntropyRange)
    least, most = entropy
    assert isinstance(other, float)
    assert least - 1e-4 <= other <= most + 1e-4


def answer(
    engine: LocalEngine, settings: SamplingSettings = DRAWN
) -> tuple[list[Step], GenerationResult]:
    prompt = engine.prompt([ChatTurn("user", "Hi <|im_end|> there")])
    *steps, result = engine.generate(prompt, settings, top_n=5)
    assert isinstance(result, GenerationResult)
    return [step for step in steps if isinstance(step, Step)], result


@pytest.mark.parametrize("dialect", DIALECTS)
def test_answer_has_exact_probabilities_and_a_range_of_the_entropy(
    dialect: type[Foreign], both: Both
) -> None:
    settings = DRAWN
    if dialect is Vllm:  # its min-p comes first
        settings = replace(DRAWN, sampler_order=VLLM_ORDER)
    here, there = both(dialect)
    expected, whole = answer(here, settings)
    steps, result = answer(there)
    assert [step.id for step in steps] == [step.id for step in expected]
    assert result.reason == whole.reason
    for step, other in zip(steps, expected, strict=True):
        assert step.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert step.rank == other.rank
        assert step.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-4)
        assert_in_range(step.entropy, other.entropy)
        shown, known = step.distribution, other.distribution
        assert shown.top_logprobs == ROWS
        assert shown.is_certain is (step.sampled_prob is not None)
        assert shown.rest_prob == pytest.approx(known.rest_prob, abs=1e-4)
        assert not shown.is_certain or shown.remaining == known.remaining
        assert [r.id for r in shown.candidates] == [r.id for r in known.candidates]


def test_a_grammar_needs_all_tokens(both: Both) -> None:
    _, there = both(LlamaServer)
    with pytest.raises(LmtuiError, match="a grammar can't be applied here"):
        answer(there, replace(DRAWN, grammar="/a/"))


def test_text_has_exact_scores_and_ranks_as_far_as_they_are_told(both: Both) -> None:
    here, there = both(Vllm)
    ids = here.encode(TEXT).ids
    assert there.encode(TEXT) == here.encode(TEXT)
    expected = list(here.score(ids, top_n=3))
    for token, other in zip(there.score(ids, top_n=3), expected, strict=True):
        if other.logprob is None:
            assert token == other
            continue
        assert token.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert_in_range(token.entropy, other.entropy)
        assert [c.id for c in token.top] == [c.id for c in other.top]
        assert other.rank is not None
        fields = score_fields(token)
        for unknown in "entropy", "varentropy", "effective_choices", "typicality":
            assert fields[unknown] is None
        assert fields["entropy_range"] == [*token.entropy]
        assert fields["rank"] == token.rank == other.rank
    with pytest.raises(LmtuiError, match="lists fewer tokens"):
        list(there.score(ids, top_n=ROWS + 1))


def test_draft_is_scored_and_what_comes_next_is_listed(both: Both) -> None:
    here, there = both(Vllm)
    for draft in ("the", "the cat", "the cat sat", "the ca"):
        found, expected = (
            engine.score_draft([], draft, DRAWN) for engine in (there, here)
        )
        scores = [token.logprob for token in expected.tokens]
        assert [t.logprob for t in found.tokens] == pytest.approx(scores, abs=1e-4)
        rows = found.distribution.candidates, expected.distribution.candidates
        assert [row.id for row in rows[0]] == [row.id for row in rows[1]]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_edited_text_has_the_same_scores_and_no_row_that_is_wrong(
    dialect: type[Foreign], both: Both
) -> None:
    here, there = both(dialect)
    for end in (len(TEXT), 30, len(TEXT)):
        text = TEXT[:end]
        scored = [
            [
                t.logprob
                for span in e.document.score_span(text, 0, end)
                for t in span.tokens
            ]
            for e in (there, here)
            if dialect is Vllm
        ]
        assert not scored or scored[0][1:] == pytest.approx(scored[1][1:], abs=1e-4)
        there_at, here_at = (e.document.predict_at(text, end) for e in (there, here))
        assert there_at.distribution and here_at.distribution
        # Rows are conditional on what is listed: above by the unexplored share.
        share = there_at.unexplored
        known = {r.bytes: r.prob for r in here_at.distribution.candidates}
        for row in there_at.distribution.candidates:
            if row.bytes in known and share < 0.9:
                low, high = row.prob * (1 - share), row.prob
                assert low - 1e-3 <= known[row.bytes] <= high + 1e-3


def test_what_is_not_listed_is_not_shown(both: Both) -> None:
    _, there = both(Vllm)
    shown = there.next_distribution([5, 6, 7], DRAWN, top_n=ROWS + 50)
    assert len(shown.candidates) == ROWS == shown.known
    after = there.preview(shown.handle, DRAWN, start=ROWS, count=20)
    assert after.candidates == ()
    ends = there.preview(shown.handle, DRAWN, start=ROWS - 5, count=20)
    assert [row.id for row in ends.candidates] == [
        row.id for row in shown.candidates[-5:]
    ]
    found = there.search_vocabulary(shown.handle, "a", DRAWN, count=400)
    assert {r.candidate.id for r in found.rows} <= {r.id for r in shown.candidates}
    assert found.vocabulary == ROWS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_depends_on_the_rest_is_not_claimed(
    dialect: type[Foreign], both: Both
) -> None:
    wide = SamplingSettings(
        temperature=1.5, top_k=0, top_p=0.999, min_p=0, seed=5, max_tokens=20
    )
    _, there = both(dialect)
    shown = there.next_distribution([5, 6, 7], wide)
    assert not shown.is_certain
    assert {row.sampled_prob for row in shown.candidates} == {None}
    penalty = SamplingSettings(repetition_penalty=1.2)
    assert not there.preview(shown.handle, penalty).is_certain


PENALIZED = replace(
    DRAWN, repetition_penalty=1.2, presence_penalty=0.7, frequency_penalty=0.4
)
BIASED = replace(DRAWN, temperature=2.0, logit_bias=("e=ban", " the=3", "no such=1"))
WHOLE_CHAIN = replace(
    PENALIZED,
    penalty_window=9,
    dry_multiplier=0.8,
    dry_base=2.0,
    dry_allowed_length=1,
    dry_window=12,
    dry_breakers=(),
    top_n_sigma=2.0,
    typical_p=0.97,
    xtc_probability=0.5,
    xtc_threshold=0.05,
    logit_bias=BIASED.logit_bias,
    sampler_order=("dry", "penalties", "top_n_sigma", "typical_p", "top_p", "xtc",
                   "temperature"),
    max_tokens=30,
)  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "settings"),
    [
        *((each, PENALIZED) for each in DIALECTS),
        *((each, BIASED) for each in DIALECTS),
        (LlamaServer, WHOLE_CHAIN),
    ],
)
def test_server_draws_with_what_it_is_told_and_nothing_is_claimed(
    dialect: type[Foreign], settings: SamplingSettings, both: Both
) -> None:
    here, there = both(dialect)
    # Our own server, which counts the prompt's tokens too, speaks each dialect.
    expected, _ = answer(here, replace(settings, min_p=0.0))
    steps, _ = answer(there, replace(settings, min_p=0.0))
    assert [step.id for step in steps] == [step.id for step in expected]
    assert [step.sampled_prob for step in steps] == [None] * len(steps)
    assert not any(step.distribution.is_certain for step in steps)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_stage_that_is_left_out_is_not_drawn_with(
    dialect: type[Foreign], both: Both
) -> None:
    order = ("temperature", "top_k")
    settings = replace(DRAWN, top_p=0.1, min_p=0.5, sampler_order=order)
    plain = replace(DRAWN, top_p=1.0, min_p=0.0)
    here, there = both(dialect)
    steps, expected = answer(there, settings)[0], answer(here, plain)[0]
    assert [step.id for step in steps] == [step.id for step in expected]
    for step, other in zip(steps, expected, strict=True):
        assert step.distribution.is_certain
        assert step.sampled_prob == pytest.approx(other.sampled_prob, abs=1e-4)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"typical_p": 0.9}, "typical-p"),
        ({"top_n_sigma": 1.0}, "top-n-sigma"),
        ({"xtc_probability": 0.5}, "xtc-probability"),
        ({"dry_multiplier": 0.8}, "dry-multiplier"),
        ({"presence_penalty": 1, "penalty_window": 9}, "penalty-window"),
        ({"sampler_order": ("top_k", "temperature")}, "sampler-order"),
        ({"banned_phrases": ("no",)}, "banned-phrases"),
    ],
)
def test_setting_that_a_server_has_not_is_refused(
    changed: dict[str, Any], name: str, both: Both
) -> None:
    idle = SamplingSettings(
        xtc_threshold=0.3, dry_base=3.0, penalty_window=9, dry_window=8, max_tokens=1
    )
    _, there = both(Vllm)
    assert len(answer(there, idle)[0]) == 1
    with pytest.raises(LmtuiError, match=f"^{name} can't be applied by this"):
        answer(there, replace(idle, **changed))
    with pytest.raises(LmtuiError, match="can't be applied by this server"):
        list(there.document.complete("the cat", 7, replace(idle, **changed)))


def test_replacements_have_the_same_numbers(both: Both) -> None:
    here, there = both(Vllm)
    text = TEXT[:22]
    *_, found_here = here.document.replacements(text, 4, 7, count=300)
    expected = {each.text: each for each in found_here.rows}
    *_, found = there.document.replacements(text, 4, 7, count=4)
    both_found = [each for each in found.rows if each.text in expected]
    assert len(both_found) > 1
    for each in both_found:
        assert each.following == pytest.approx(expected[each.text].following, abs=1e-3)
    with pytest.raises(LmtuiError, match="corrections can't be found here"):
        list(there.document.proofread(TEXT, 0, 9))


def test_given_text_has_no_scores_on_a_llama_server(both: Both) -> None:
    _, there = both(LlamaServer)
    asked = (
        lambda: list(there.score([5] * 10)),
        lambda: list(there.document.score_span(TEXT, 0, 9)),
    )
    for ask in asked:
        with pytest.raises(LmtuiError, match="a text can't be scored here"):
            ask()
    draft = there.score_draft([], "the cat", DRAWN)
    assert draft.distribution.candidates and not draft.tokens
    with pytest.raises(LmtuiError, match="no scores of a text"):
        next(there.document.replacements(TEXT, 4, 7))


def test_wrong_tokenizer_is_refused(tmp_path: Path) -> None:
    other = trained(["no such text"], size=300)
    PreTrainedTokenizerFast(tokenizer_object=other).save_pretrained(tmp_path)
    with (
        foreign(LlamaServer, tiny.engine("llama")) as (url, _),
        pytest.raises(LmtuiError, match="not the tokenizer"),
    ):
        open_served(url, ServerOptions(tokenizer=str(tmp_path)))


class Coarse(Vllm):
    """Its logits tie, as many of bfloat16 do."""

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        return (2 * super().logprobs(ids)).round().div(2).log_softmax(-1)


def test_tokens_that_are_as_probable_do_not_count_in_a_rank(both: Both) -> None:
    _, there = both(Coarse)
    ids = there.encode(TEXT).ids
    scores = list(there.score(ids, top_n=ROWS))[1:]
    assert any(len({each.logprob for each in token.top}) < ROWS for token in scores)
    for token in scores:
        assert token.logprob is not None and token.rank is not None
        above = sum(each.logprob > token.logprob for each in token.top)
        if above < ROWS:
            assert token.rank == 1 + above
        else:
            assert token.rank > ROWS


def test_text_longer_than_the_context_of_a_server_is_scored_in_windows(
    tokenizer: str,
) -> None:
    here = tiny.engine("llama", context=48)
    with foreign(Vllm, here) as (url, _):
        there = opened_at(url, ServerOptions(tokenizer=tokenizer))
        # A request draws a token behind its prompt.
        assert there.info.context == 47
        ids = here.encode(TEXT * 2).ids[:70]
        windows = there.info.windows()
        assert windows.window == there.info.context
        expected = here.score(ids, window=windows.window, stride=windows.stride)
        values = [token.logprob for token in expected]
        found = [token.logprob for token in there.score(ids)]
    assert found[1:] == pytest.approx(values[1:], abs=1e-4)


@pytest.mark.parametrize("name", ["second", "tuned"])
def test_other_names_of_a_model_and_adapters_can_be_used(name: str, both: Both) -> None:
    here, there = both(Vllm, name=name)
    steps, _ = answer(there)
    assert [step.logprob for step in steps]
    assert there.info.context == here.info.context - 1
    assert name in there.info.model


def test_adapter_has_the_tokenizer_of_its_parent(tokenizer: str) -> None:
    class Here(Vllm):
        def get(self, path: str) -> Any:
            told = super().get(path)
            for card in told["data"][:2]:
                card["root"] = tokenizer
            return told

    with foreign(Here, tiny.engine("llama")) as (url, _):
        there = opened_at(f"{url}#tuned")
    assert isinstance(there.backend, TopLogprobsBackend)


@pytest.mark.parametrize(("most", "listed"), [(500, 500), (100, 100), (20, 20)])
def test_as_many_tokens_are_asked_for_as_the_server_allows(
    most: int, listed: int, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_load, "DIALECTS", TABLE)
    kind = type("Some", (Vllm,), {"most": most})
    here, there = both(kind)
    assert there.backend.top_logprobs == min(listed, here.info.vocabulary)


def test_word_that_is_begun_needs_a_server_that_is_asked_for_tokens(
    both: Both,
) -> None:
    text = "the cat sat on the dog and the lazy fox jum"
    here, there = both(Vllm)
    for end in (len(text) - 5, len(text) - 1, len(text)):
        one, other = (e.document.predict_at(text[:end], end) for e in (there, here))
        assert one.typed == other.typed and one.unexplored < 0.2
    _, there = both(WithoutTokenIds)
    end = len(text) - 1
    assert there.document.predict_at(text[:end], end).unexplored > 0.2


class Scaled(Vllm):
    """Its probabilities are those that it draws with."""

    def _row(self, before: list[int], token: int, body: Any) -> Any:
        row = super()._row(before, token, body)
        scale = body.get("temperature") or 1
        return {name: value / scale for name, value in row.items()}


def test_probabilities_after_the_temperature_are_refused(both: Both) -> None:
    with pytest.raises(LmtuiError, match="after the temperature") as caught:
        both(Scaled)
    assert "raw_logprobs" in caught.value.hint


class WithoutTokenIds(Vllm):
    """One of the versions before it could be asked for tokens, or followed grammars."""

    lacks = ("logprob_token_ids", "structured_outputs")


GRAMMAR = replace(DRAWN, grammar="/(yes|no) [0-9]{2}/", max_tokens=30)


def test_server_follows_a_grammar_and_the_numbers_are_the_models(
    both: Both,
) -> None:
    here, there = both(Vllm)
    ids = list(there.encode(TEXT).ids)
    *items, result = there.generate(Prompt(tuple(ids), TEXT), GRAMMAR)
    steps = [item for item in items if isinstance(item, Step)]
    whole = [*ids, *(step.id for step in steps)]
    scores = list(here.score(whole))[len(ids) :]
    assert isinstance(result, GenerationResult)
    assert result.reason is FinishReason.STOP
    said = "".join(each.piece for each in (*steps, result))
    assert re.fullmatch("(yes|no) [0-9]{2}", said)
    assert [step.logprob for step in steps] == pytest.approx(
        [score.logprob for score in scores], abs=1e-4
    )
    assert [step.sampled_prob for step in steps] == [None] * len(steps)
    assert not any(step.distribution.is_certain for step in steps)


def test_grammar_behind_thinking_or_a_beginning_is_refused(both: Both) -> None:
    """The server's begins with the first token that it draws."""
    _, there = both(Vllm)
    ids = tuple(there.encode(TEXT).ids)
    begun = Prompt(ids, f"{TEXT}yes", begun="yes")
    for prompt in (begun, Prompt(ids, f"{TEXT}<think>")):
        with pytest.raises(LmtuiError, match="a grammar can't be applied here"):
            list(there.generate(prompt, GRAMMAR))
    _, there = both(WithoutTokenIds)
    with pytest.raises(LmtuiError, match="a grammar can't be applied here"):
        list(there.generate(Prompt(ids, TEXT), GRAMMAR))


def test_ends_of_words_are_refused_where_a_server_lists_some_tokens(both: Both) -> None:
    _, there = both(Vllm)
    with pytest.raises(LmtuiError, match=f"lists only the {ROWS} most") as caught:
        there.score([5, 6], word_ends=True)
    assert caught.value.title.startswith("the words of a text can't be scored")
    assert "Use another model" in caught.value.hint


def test_pairs_have_their_numbers_over_a_server(
    both: Both,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "pairs"
    file.write_text("the cat sat\tthe cat sits")
    for engine in both(Vllm):
        pairs = read_pairs(read_file(str(file)))
        write_pairs(engine, "-", pairs, "no", "json")
    own, _, there, _ = map(json.loads, capsys.readouterr().out.splitlines())
    for name in ("logprob_good", "logprob_bad", "difference"):
        assert there[name] == pytest.approx(own[name], abs=1e-3)

"""A scripted engine behind the real port, for everything that shows an engine.

`FakeEngine` needs no torch. It reads text as bytes, answers with scripted tokens,
and its numbers are consistent: every distribution sums to 1, what it generates and
what it scores agree, and the totals are the sums. Its "model" is a pseudo-random
function of the whole context; the scripted token is made the likely one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count as numbers
from types import MappingProxyType
from typing import Any

from lmtui import cancellation
from lmtui.engine import token_bias
from lmtui.engine.lens import LensColumn, LensRow
from lmtui.engine.protocol import ReportCount
from lmtui.engine.rows import RowItem, RowRequest
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.types import (
    BosRule,
    Candidate,
    Capabilities,
    ChatTurn,
    Distribution,
    DraftScores,
    Encoding,
    EngineInfo,
    FinishReason,
    GenerationResult,
    Mark,
    Prompt,
    RankedCandidate,
    ScoredPrompt,
    ScoredToken,
    Step,
    TokenMatches,
)
from lmtui.errors import LmtuiError
from lmtui.models.remote.wire import LOGIT_BYTES
from lmtui.text import bytes_text
from tests.fake_numbers import (
    Answer,
    Position,
    draw_from,
    effects_of,
    position_of,
    settings_until,
    state_after,
    tokens_of,
)

END, BOS, FIRST_WORD = 256, 257, 258
WORD_END = -1.5
_HANDLES = numbers()  # of all engines, as the real one's


@dataclass
class FakeEngine:
    """A scripted `port.Engine`. It answers with `answers` in turn, then with nothing.

    `on_token` runs before each generated or scored token (raise in it, or set a stop
    flag); `error` is raised by every verb that runs the model; `calls` records them.
    """

    answers: Sequence[Answer] = ()
    context: int = 4096
    has_template: bool = True
    adds_bos: bool = False
    name: str = "fake"
    adapter: str | None = None
    on_token: Callable[[int], None] = lambda index: None
    error: Exception | None = None
    likelihood: float = 0.6
    """Probability of a scripted token, about."""
    switches_thinking: bool = False
    """Whether it can be told to think, or not to: its prompt says so."""
    opens_thinking: bool = False
    """Whether its prompt ends with the mark that begins thinking."""
    slots: int = 1
    """How many generations can run in turns."""
    seed: int = 0
    """Of the logits: another one is another model."""
    breaks_off: tuple[int, int] | None = None
    """Version and index of the token that an error comes in place of."""
    longest_token: int = 0
    layers: int = 4
    """How many layers the logit lens sees."""
    calls: list[tuple[str, object]] = field(default_factory=list)

    capabilities = Capabilities()

    def __post_init__(self) -> None:
        self._scripts = [tokens_of(answer) for answer in self.answers]
        words = dict.fromkeys(t for s in self._scripts for t in s if len(t) != 1)
        self._bytes: list[bytes] = [bytes([i]) for i in range(256)]
        self._bytes += [b"<end>", b"<bos>", *words]
        self._ids = {word: FIRST_WORD + i for i, word in enumerate(words)}
        self._scripted: dict[int, int] = {}  # state of a context → token made likely
        self._positions: dict[int, Position] = {}
        self._turn = 0
        self._read: dict[int, tuple[int, ...]] = {}  # slot → the prompt read last
        self.biases: list[dict[int, float]] = []

    @property
    def document(self) -> Any:
        """Itself: only a `FakeWriter` edits."""
        return self

    def close(self) -> None:
        """Note that it was closed."""
        self.calls.append(("close", None))

    @property
    def info(self) -> EngineInfo:
        """What is loaded."""
        return EngineInfo(
            model=self.name,
            architecture="FakeForCausalLM",
            parameters=0,
            vocabulary=len(self._bytes),
            context=self.context,
            device="cpu",
            dtype="float32",
            precision="exact",
            threads=1,
            has_template=self.has_template,
            slots=self.slots,
            adapter=self.adapter,
            switches_thinking=self.switches_thinking,
        )

    def encode(self, text: str, *, bos: BosRule = "auto") -> Encoding:
        """A token a byte; bytes of one character share its span."""
        with_bos = bos == "yes" or (bos == "auto" and self.adds_bos)
        spans = [
            (index, index + 1)
            for index, character in enumerate(text)
            for _ in character.encode()
        ]
        ids = tuple(text.encode())
        return Encoding(ids, tuple(spans), (BOS,) if with_bos else ())

    def prompt(
        self,
        messages: Sequence[ChatTurn],
        *,
        prefill: str = "",
        thinking: bool | None = None,
    ) -> Prompt:
        """Each message on a line of its own, then the prefill."""
        self.calls.append(("prompt", (tuple(messages), prefill)))
        lines = [f"{message.role}: {message.content}\n" for message in messages]
        begun = "<think>\n" if self.opens_thinking else ""
        if self.switches_thinking and thinking is not None:
            begun = "" if thinking else "<think>\n\n</think>\n\n"
        text = "".join(lines) + "assistant: " + begun + prefill
        bos = (BOS,) if self.adds_bos else ()
        return Prompt((*bos, *text.encode()), text)

    def tokenizer_info(self) -> Mapping[str, Any]:
        """What such a tokenizer's file would say."""
        return {"eos_token": "<end>", "bos_token": "<bos>", "chat_template": None}

    def tokenizer_json(self) -> str:
        """What such a tokenizer's file would hold."""
        return "{}"

    def raw_logits(
        self, ids: Sequence[int], *, keep: int = 1, slot: int = 0
    ) -> Iterator[bytes]:
        """A row of zeros for each token."""
        self._begin("logits", (tuple(ids), keep))
        yield bytes(LOGIT_BYTES * self.info.vocabulary) * min(keep, len(ids))

    def logits_at(self, handle: int) -> bytes:
        """A row of zeros."""
        return bytes(LOGIT_BYTES * self.info.vocabulary)

    def next_distribution(
        self, ids: Sequence[int], settings: SamplingSettings, *, top_n: int = 20
    ) -> Distribution:
        """The distribution after `ids`."""
        self._begin("look", (tuple(ids), settings))
        self._require_room(len(ids), spare=0)
        cancellation.check()
        return self._distribution(self._remember(state_after(ids)), settings, 0, top_n)

    def score_draft(
        self,
        messages: Sequence[ChatTurn],
        draft: str,
        settings: SamplingSettings,
        *,
        prefix_len: int | None = None,
        thinking: bool | None = None,
        top_n: int = 20,
    ) -> DraftScores:
        """The draft on a line of its own, after a line for each message."""
        self._begin("trace", (tuple(messages), draft, settings))
        lines = [f"{message.role}: {message.content}\n" for message in messages]
        context = tuple(("".join(lines) + "user: ").encode())
        ids = tuple(draft.encode())
        self._require_room(len(context) + len(ids), spare=0)
        tokens = tuple(self._scores(ids, context, 0))
        cancellation.check()
        handle = self._remember(state_after((*context, *ids[:prefix_len])))
        shown = self._distribution(handle, settings, 0, top_n)
        return DraftScores(shown, tokens, context)

    def preview(
        self,
        handle: int,
        settings: SamplingSettings,
        *,
        start: int = 0,
        count: int = 20,
        until: str | None = None,
        with_chain: bool = False,
    ) -> Distribution:
        """The same position under other settings."""
        drawn = settings if until is None else settings_until(settings, until)
        shown = self._distribution(handle, drawn, start, count)
        if not with_chain:
            return shown
        return replace(
            shown, chain=effects_of(self._positions[handle].ranked, settings)
        )

    def search_vocabulary(
        self, handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        """The tokens with these characters, the most probable first."""
        shown = self._distribution(handle, settings, 0, len(self._bytes))
        position = self._positions[handle]
        rows = [row for row in shown.candidates if text in row.text]
        ranked = [RankedCandidate(position.rank(row.id), row) for row in rows[:count]]
        return TokenMatches(tuple(ranked), len(rows), len(self._bytes))

    def generate(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        *,
        top_n: int = 20,
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        slot: int = 0,
        after: int | None = None,
        progress: ReportCount | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """The next scripted answer and an end token; `biases` records the bias."""
        self._read[slot] = prompt.ids
        self.biases.append(dict(logit_bias))
        self._begin("generate", (prompt, settings))
        self._require_room(len(prompt.ids), spare=1)
        if progress:
            progress(len(prompt.ids), len(prompt.ids))
        script = self._next_script()
        return self._answer(prompt, settings, script, top_n)

    def generate_rows(
        self,
        prompt: Prompt,
        rows: Sequence[RowRequest],
        *,
        top_n: int = 20,
        progress: ReportCount | None = None,
    ) -> Iterator[RowItem]:
        """The next scripted answers, one for each of the rows, token by token; behind
        given starts, the most probable tokens."""
        starts = tuple(start for row in rows for start in row.start)
        if starts:
            self._begin("look_ahead", (prompt.ids, starts))
        else:
            settings = tuple(row.settings for row in rows)
            self._begin("generate_rows", (prompt, settings))
        self._require_room(len(prompt.ids), spare=0 if starts else 1)
        if progress:
            progress(len(prompt.ids), len(prompt.ids))
        return self._rows(prompt, rows, top_n)

    def _rows(
        self, prompt: Prompt, rows: Sequence[RowRequest], top: int
    ) -> Iterator[RowItem]:
        going = {
            index: self._way(prompt.ids, row)
            if row.start
            else self._answer(prompt, row.settings, self._next_script(), top, False)
            for index, row in enumerate(rows)
        }
        while going:
            for index, answer in list(going.items()):
                item = next(answer)
                if isinstance(item, Step) and self.breaks_off == (index, item.index):
                    del going[index]
                    yield index, LmtuiError("this version broke off")
                    continue
                if isinstance(item, GenerationResult):
                    del going[index]
                yield index, item

    def _way(
        self, ids: tuple[int, ...], row: RowRequest
    ) -> Iterator[Step | GenerationResult]:
        """A start, and the most probable tokens after it."""
        state = state_after(ids)
        token, *_ = row.start
        steps: list[Step] = []
        most = min(row.settings.max_tokens, self.context - len(ids))
        for index in range(max(1, most)):
            cancellation.check()
            piece = bytes_text(self._bytes[token])
            steps.append(self._step(index, token, piece, state, row.settings, 1))
            yield steps[-1]
            state = state_after((token,), state)
            token = self._position(state).ranked[0][0]
        yield self._result(FinishReason.LENGTH, steps, len(ids), row.settings)

    def reusable(self, ids: Sequence[int], slot: int) -> int:
        """The first tokens that were in the last prompt of the slot, too."""
        return common_prefix_len(self._read.get(slot, ()), ids)

    def prefill(self, ids: Sequence[int], *, slot: int = 0) -> Iterator[int]:
        """One part, which takes no time."""
        cancellation.check()
        self._read[slot] = tuple(ids)
        yield 0

    def score_prompts(
        self,
        prompts: Sequence[Sequence[int]],
        settings: SamplingSettings,
        *,
        top_n: int = 0,
        slot: int = 0,
    ) -> Iterator[ScoredPrompt | None]:
        """The scores of each prompt, and the distribution after it."""
        for ids in prompts:
            tokens = tuple(self.score(ids, top_n=top_n))
            following = self.next_distribution(ids, settings, top_n=max(1, top_n))
            yield ScoredPrompt(tokens, following)

    def score(
        self,
        ids: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        start: int = 0,
        top_n: int = 0,
        word_ends: bool = False,
    ) -> Iterator[ScoredToken]:
        """Each token under the model that `generate` draws from."""
        self._begin("score", tuple(ids))
        windows = self.info.windows(len(prefix), window, stride)
        assert not start or start in (first for *_, first in windows.over(len(ids)))
        scored = self._scores(tuple(ids), tuple(prefix), top_n, since=start)
        if not word_ends:
            return scored
        # As if white space had a fixed share of every distribution.
        return (replace(token, word_end=WORD_END) for token in scored)

    def describe_tokens(self, ids: Sequence[int]) -> tuple[ScoredToken, ...]:
        """The tokens without numbers."""
        parts = [self._bytes[id_] for id_ in ids]
        return tuple(
            ScoredToken(
                index,
                id_,
                bytes_text(data),
                data,
                None,
                None,
                None,
                is_control=id_ in (END, BOS),
            )
            for index, (id_, data) in enumerate(zip(ids, parts, strict=True))
        )

    def target_logprob(self, context: Sequence[int], target: Sequence[int]) -> float:
        """The sum of the tokens' scores."""
        self._begin("target", tuple(context))
        scores = self._scores(tuple(target), tuple(context), 0)
        return math.fsum(token.logprob or 0.0 for token in scores)

    def logit_lens(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        *,
        prefix: Sequence[int] = (),
        window: int | None = None,
        stride: int | None = None,
        top_n: int = 1,
    ) -> Iterator[LensColumn]:
        """The scores of the last layer; each before it is another model."""
        self._begin("lens", tuple(positions))
        self.info.windows(len(prefix), window, stride)
        return self._columns(tuple(ids), positions, tuple(prefix), top_n)

    def _columns(
        self,
        ids: tuple[int, ...],
        positions: Sequence[int],
        prefix: tuple[int, ...],
        top: int,
    ) -> Iterator[LensColumn]:
        for index in positions:
            self.on_token(index)
            cancellation.check()
            state = state_after((*prefix, *ids[:index]))
            known = bool(prefix) or index > 0
            following = ids[index] if index < len(ids) else None
            layers = range(self.layers + 1 if known else 0)
            rows = (self._lens_row(layer, state, following, top) for layer in layers)
            yield LensColumn(index, tuple(rows))

    def _lens_row(
        self, layer: int, state: int, following: int | None, top: int
    ) -> LensRow:
        own = state if layer == self.layers else state_after((layer,), state)
        position = self._position(own)
        return LensRow(
            layer=layer,
            top=tuple(self._candidate(*row) for row in position.ranked[:top]),
            logprob=None if following is None else position.logprob(following),
            rank=None if following is None else position.rank(following),
            entropy=position.entropy,
            varentropy=position.varentropy,
        )

    def _begin(self, verb: str, question: object) -> None:
        self.calls.append((verb, question))
        if self.error:
            raise self.error

    def _require_room(self, tokens: int, *, spare: int) -> None:
        if tokens + spare > self.context:
            raise LmtuiError(
                "the prompt does not fit the context",
                f"{tokens} tokens, the context holds {self.context}",
                "Shorten it.",
            )

    def _answer(
        self,
        prompt: Prompt,
        settings: SamplingSettings,
        script: list[int],
        top: int,
        single_line: bool = False,
    ) -> Iterator[Step | GenerationResult]:
        text, ids = TextStream(prompt.stop_texts), prompt.ids
        reason, steps, state = FinishReason.STOP, [], state_after(ids)
        for index, token in enumerate([*script, END]):
            if index == settings.max_tokens:
                reason = FinishReason.LENGTH
                break
            self.on_token(index)
            if cancellation.requested():
                reason = FinishReason.CANCELLED
                break
            self._scripted[state] = token
            piece = "" if token == END else text.feed(self._bytes[token])
            step = self._step(index, token, piece, state, settings, top)
            steps.append(step)
            yield step
            if text.found is not None:
                break
            if single_line and "\n" in piece:
                reason = FinishReason.NEWLINE
                break
            state = state_after((token,), state)
        yield self._result(reason, steps, len(ids), settings, text.finish())

    def _result(
        self,
        reason: FinishReason,
        steps: Sequence[Step],
        prompt_tokens: int,
        settings: SamplingSettings,
        piece: str = "",
    ) -> GenerationResult:
        return GenerationResult(
            reason=reason,
            tokens=len(steps),
            logprob=math.fsum(step.logprob or 0.0 for step in steps),
            prompt_tokens=prompt_tokens,
            reused_tokens=0,
            prompt_seconds=0.0,
            seconds=0.01 * len(steps),
            seed=settings.seed or 0,
            piece=piece,
            first_token_seconds=0.25 if steps else None,
        )

    def _next_script(self) -> list[int]:
        turn, self._turn = self._turn, self._turn + 1
        if turn >= len(self._scripts):
            return []
        return [self._ids.get(t, t[0]) for t in self._scripts[turn]]

    def _step(
        self,
        index: int,
        token: int,
        piece: str,
        state: int,
        settings: SamplingSettings,
        top: int,
    ) -> Step:
        handle = self._remember(state)
        position = self._positions[handle]
        ids = [id_ for id_, _ in position.ranked]
        probs, _ = draw_from(position.ranked, settings)
        return Step(
            index=index,
            id=token,
            text=bytes_text(self._bytes[token]),
            bytes=self._bytes[token],
            piece=piece,
            logprob=position.logprob(token),
            rank=position.rank(token),
            entropy=position.entropy,
            sampled_prob=probs[ids.index(token)],
            distribution=self._distribution(handle, settings, 0, top),
        )

    def _scores(
        self,
        ids: tuple[int, ...],
        prefix: tuple[int, ...],
        top: int,
        *,
        since: int = 0,
    ) -> Iterator[ScoredToken]:
        state = state_after((*prefix, *ids[:since]))
        for index, token in enumerate(ids[since:], since):
            self.on_token(index)
            cancellation.check()
            known = bool(prefix) or index > 0
            position = self._position(state) if known else None
            yield ScoredToken(
                index=index,
                id=token,
                text=bytes_text(self._bytes[token]),
                bytes=self._bytes[token],
                logprob=position.logprob(token) if position else None,
                rank=position.rank(token) if position else None,
                entropy=position.entropy if position else None,
                varentropy=position.varentropy if position else None,
                top=tuple(
                    self._candidate(*row)
                    for row in (position.ranked[:top] if position else ())
                ),
            )
            state = state_after((token,), state)

    def _remember(self, state: int) -> int:
        handle = next(_HANDLES)
        self._positions[handle] = self._position(state)
        return handle

    def _position(self, state: int) -> Position:
        """The model: pseudo-random logits of the context, the script's token likely."""
        scripted = self._scripted.get(state)
        likely = None if scripted is None else (scripted, self.likelihood)
        return position_of(state ^ self.seed, len(self._bytes), likely)

    def _distribution(
        self, handle: int, settings: SamplingSettings, start: int, count: int
    ) -> Distribution:
        position = self._positions[handle]
        bias = token_bias.parse(settings.logit_bias)
        banned = frozenset(
            id_
            for id_, data in enumerate(self._bytes)
            if bias.get(data, 0.0) == -math.inf
        )
        probs, cuts = draw_from(position.ranked, settings, banned)
        rows = slice(start, start + count)
        shown = position.ranked[rows]
        candidates = tuple(
            self._candidate(*row, sampled_prob=prob, cut=cut)
            for row, prob, cut in zip(shown, probs[rows], cuts[rows], strict=True)
        )
        model_probs = [math.exp(logprob) for _, logprob in position.ranked]
        kept = cuts.count(None)
        return Distribution(
            candidates=candidates,
            start=start,
            vocabulary=len(self._bytes),
            rest_prob=1 - math.fsum(model_probs[rows]),
            rest_sampled_prob=1 - math.fsum(probs[rows]),
            remaining=kept,
            remaining_prob=math.fsum(model_probs[:kept]),
            entropy=position.entropy,
            varentropy=position.varentropy,
            handle=handle,
        )

    def _candidate(
        self,
        token: int,
        logprob: float,
        *,
        sampled_prob: float | None = None,
        cut: Mark | None = None,
    ) -> Candidate:
        data = self._bytes[token]
        return Candidate(
            id=token,
            text=bytes_text(data),
            bytes=data,
            logprob=logprob,
            sampled_prob=sampled_prob,
            cut=cut,
        )

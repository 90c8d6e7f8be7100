"""Decode loop: prefill, sample, append, repeat.

Decides when a generation ends and what each step reports. Knows ids and bytes; no chat,
no template and no terminal.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.detokenizer import TextStream, Vocabulary
from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.engine.grammar.matcher import GrammarStuck
from lmtui.engine.logits_store import LogitsStore, distribution
from lmtui.engine.phrases import BeforeToken, PhraseGuard
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.prompt_lookup import SpeculativeDecoder, is_guessing
from lmtui.engine.protocol import ReportCount
from lmtui.engine.sampling.chain import DrawConditions, NothingLeft, SamplerChain
from lmtui.engine.sampling.draw import draw, uniform
from lmtui.engine.server_draws import (
    DrawingBackend,
    DrawnToken,
    DrawOptions,
    is_drawn_there,
)
from lmtui.engine.token_ids import GrowingIds
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled


@dataclass(frozen=True)
class StopRules:
    """Conditions that end a generation, besides a request to stop."""

    end_ids: frozenset[int]
    """Tokens that end the answer; they are generated but are not part of its text."""
    max_tokens: int
    context: int
    """Most tokens that prompt and answer can have together."""
    stop_texts: tuple[str, ...] = ()
    single_line: bool = False
    """End at the first newline, which is not part of the text."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """First step that token healing chose; it may take several tokens."""

    ids: tuple[int, ...]
    step: Step
    """Its `bytes` are what the tokens add to the typed text; its `piece` is empty."""
    reused: int
    """Prompt tokens that were already in the KV cache."""


Open = Callable[[torch.Generator], FirstStep]
"""Chooses the first step, with the generation's random numbers. May raise
`Cancelled`."""


class Decoder:
    """State and totals of one generation."""

    def __init__(
        self,
        cache: PrefixCache,
        positions: LogitsStore,
        vocabulary: Vocabulary,
        *,
        chain: SamplerChain,
        rules: StopRules,
        top_n: int,
        lookup_ids: Iterable[int] = (),
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        drawn: int = 0,
        grammar: AnswerGrammar | None = None,
    ) -> None:
        """`lookup_ids` are tokens near the prompt that the text may repeat;
        `logit_bias` is added to the logits of some tokens before anything else; `drawn`
        tokens were drawn with the same seed before; `grammar` is where the answer
        begins."""
        self._cache = cache
        self._positions = positions
        self._vocabulary = vocabulary
        self._chain = chain
        self._rules = rules
        self._top = top_n
        self._beside = lookup_ids
        self._bias = logit_bias
        self._grammar = grammar
        phrases = chain.settings.banned_phrases
        self._guard = PhraseGuard(phrases) if phrases else None
        newline = ("\n",) if rules.single_line else ()
        self._text = TextStream((*rules.stop_texts, *newline))
        # A drawn seed has 32 bits, which every reader of JSON represents exactly.
        random = secrets.randbits(32)
        seed = chain.settings.seed
        self._seed = random if seed is None else seed
        self._random = torch.Generator().manual_seed(self._seed)
        for _ in range(drawn):
            self._toss()
            uniform(self._random)
        self._ids: list[int] = []
        self._array = GrowingIds(())
        self._logprobs: list[float] = []
        self._prompt_tokens = 0
        self._reused = 0
        # Tokens whose logits a right guess has computed ahead.
        self._guessed = 0 if is_guessing(cache) else None
        self._started = self._prompt_read = time.perf_counter()
        self._first_at = self._last_at = self._started

    def run(
        self,
        prompt: Sequence[int],
        progress: ReportCount | None,
        *,
        known: Tensor | None = None,
    ) -> Iterator[Step | GenerationResult]:
        """Generate after `prompt` (at least one id, shorter than the context). Yields
        each step, then the result. `known` are the logits [V] after the prompt, if they
        are known: the prompt is then read after the first step."""
        return self._held_back(self._run(prompt, progress, known))

    def _held_back(
        self, items: Generator[Step | GenerationResult]
    ) -> Iterator[Step | GenerationResult]:
        """Yield the items of a generation, each step once it can't be taken back."""
        with closing(items):
            for item in items:
                if self._guard is None:
                    yield item
                elif isinstance(item, Step):
                    yield from self._guard.sure()
                else:
                    yield from self._guard.rest()
                    yield item

    def _run(
        self, prompt: Sequence[int], progress: ReportCount | None, known: Tensor | None
    ) -> Generator[Step | GenerationResult]:
        # 1) prefill
        self._begin(prompt)
        if self._grammar is not None and self._grammar.is_finished:
            yield self._finish(FinishReason.STOP)
            return
        if server := self._server:
            yield from self._follow(server)
            return
        try:
            if known is not None:
                step = self._step(known)
                while before := self._state_to_return_to():
                    self._return_to(before)
                    step = self._step(known)
                yield step
                if reason := self._reason(step.id):
                    yield self._finish(reason)
                    return
            self._reused = self._cache.read(self._ids, progress=progress)
        except (Cancelled, NothingLeft, GrammarStuck) as error:
            yield self._broken_off(error)
            return
        # 2) decode steps
        self._prompt_read = time.perf_counter()
        yield from self._go_on()

    def run_from(
        self, prompt: Sequence[int], open_with: Open
    ) -> Iterator[Step | GenerationResult]:
        """Generate after `prompt`, with the first step from `open_with`. Yields each
        step, then the result."""
        return self._held_back(self._run_from(prompt, open_with))

    def _run_from(
        self, prompt: Sequence[int], open_with: Open
    ) -> Generator[Step | GenerationResult]:
        # 1) first step, with token healing; `open_with` prefills as it needs
        self._begin(prompt)
        try:
            step = self._opened(open_with(self._random))
            self._state_to_return_to()  # a phrase that begins here has to stay
            yield step
            if reason := self._reason(step.id):
                yield self._finish(reason)
                return
            if server := self._server:
                yield from self._follow(server)
                return
            # 2) prefill of the prompt and the first step's tokens
            self._cache.read(self._ids)
        except (Cancelled, NothingLeft, GrammarStuck) as error:
            yield self._broken_off(error)
            return
        # 3) decode steps
        yield from self._go_on()

    def _begin(self, prompt: Sequence[int]) -> None:
        self._ids = list(prompt)
        self._array = GrowingIds(prompt)
        self._prompt_tokens = len(prompt)

    def _go_on(self) -> Iterator[Step | GenerationResult]:
        """Run decode steps from the logits in the cache until the generation ends."""
        ahead = SpeculativeDecoder(self._cache, self._beside, self._ids)
        while True:
            if cancellation.requested():
                yield self._finish(FinishReason.CANCELLED)
                return
            # 1) sample from the logits [V], and report the step
            step, result = self.advance(ahead.logits, ahead=ahead.is_ahead)
            before = self._state_to_return_to() if step is not None else None
            if before is not None:
                self._return_to(before)
                try:
                    ahead.go_back(self._ids, before.logits)
                except Cancelled:
                    yield self._finish(FinishReason.CANCELLED)
                    return
                continue
            if step is not None:
                yield step
            # 2) end, or run the token, with guesses, for the next logits
            if step is None or result is not None:
                assert result is not None
                yield result
                return
            try:
                ahead.run(step.id, self._room - 1)
            except Cancelled:
                yield self._finish(FinishReason.CANCELLED)
                return

    def advance(
        self, logits: Tensor, *, ahead: bool = False
    ) -> tuple[Step | None, GenerationResult | None]:
        """Draw the next token from logits [V], which a right guess has computed `ahead`
        or not. Return its step, None where no token can be drawn, and the result if the
        generation ends with it."""
        try:
            step = self._step(logits, ahead=ahead)
        except (NothingLeft, GrammarStuck) as error:
            return None, self._broken_off(error)
        reason = self._reason(step.id)
        return step, self._finish(reason) if reason else None

    # As one row of a batch, which runs the tokens that this one draws.

    def begin_row(self, prompt: Sequence[int]) -> None:
        """Begin a generation after `prompt`, which is yet to be read."""
        self._begin(prompt)
        self._guessed = None

    def follow_prompt(self, reused: int) -> None:
        """Note that the prompt is read; `reused` tokens of it were in the KV cache."""
        self._reused, self._prompt_read = reused, time.perf_counter()

    def stop(self) -> GenerationResult:
        """Return the result of a generation that is stopped here."""
        return self._finish(FinishReason.CANCELLED)

    def leave_batch(self) -> Iterator[Step | GenerationResult]:
        """Generate on alone, with the KV cache; yield each step, then the result."""
        try:
            self._cache.read(self._ids)
        except Cancelled:
            yield self.stop()
            return
        yield from self._go_on()

    @property
    def _server(self) -> DrawingBackend | None:
        """The backend, if its server is to draw. It knows no grammar: with one, tokens
        are drawn here."""
        backend = self._cache.backend
        return backend if is_drawn_there(backend) and not self._grammar else None

    def _follow(self, server: DrawingBackend) -> Iterator[Step | GenerationResult]:
        """Report the tokens that a server draws, until the generation ends."""
        bias = self._chain.all_bias(self._bias)
        options = DrawOptions(self._chain.settings, self._seed, self._room, bias)
        self._random.manual_seed(self._seed)  # as the server does
        drawn = server.draw(list(self._ids), options)
        reason = FinishReason.STOP  # the server sends no more
        begun = bool(self._logprobs)
        with closing(drawn):
            try:
                for token in drawn:
                    if not begun:
                        self._prompt_read, begun = time.perf_counter(), True
                    step = self._step(token.logits, token)
                    yield step
                    if ended := self._reason(step.id):
                        reason = ended
                        break
            except Cancelled:
                reason = FinishReason.CANCELLED
        yield self._finish(reason)

    @property
    def _room(self) -> int:
        """Number of tokens that may still be generated."""
        made, held = len(self._logprobs), len(self._ids)
        return min(self._rules.max_tokens - made, self._rules.context - held)

    def _opened(self, opening: FirstStep) -> Step:
        self._prompt_read = time.perf_counter()
        self._reused = opening.reused
        self._ids += opening.ids
        self._array.append(*opening.ids)
        step = opening.step
        assert step.logprob is not None
        self._add(step.logprob)
        ends = step.id in self._rules.end_ids
        opened = replace(
            step,
            piece="" if ends else self._text.feed(step.bytes),
            guessed=None if self._guessed is None else False,
        )
        if self._guard is not None:
            self._guard.add(opened, b"" if ends else step.bytes, None)
        return opened

    @torch.inference_mode()
    def _step(
        self, logits: Tensor, drawn: DrawnToken | None = None, *, ahead: bool = False
    ) -> Step:
        """Sample a token from logits [V], or take the one that was drawn from them, and
        append it. A right guess has computed logits that are `ahead`."""
        # 1) the sampler's stages
        before = self._before_token(logits) if self._guard else None
        conditions = DrawConditions(
            self._array.view(),
            self._bias_here(),
            allowed=self._grammar.mask() if self._grammar else None,
            coin=self._toss(),
        )
        position = self._positions.add(logits, conditions)
        look = position.view(self._chain, self._top)
        # 2) draw
        rank: int | None
        prob: float | None
        if drawn is None:
            place = draw(look.sampled, self._random)
            token = int(look.sampled.ids[place])
            logprob = float(look.sampled_rows.logprobs[place])
            prob, rank = float(look.sampled.probs[place]), position.rank(place, look)
        else:
            token, logprob = drawn.id, drawn.logprob
            uniform(self._random)  # lmtui serve has drawn with it: the next coin agrees
            prob = float(look.sampled.prob(torch.tensor([token])))
            if not prob:  # the server drew what our filters cut: they differ
                look = replace(look, is_certain=False)
            prob = prob if look.is_certain else None
            rank = position.rank_of(token)
        data = self._vocabulary.bytes(token)
        ends = token in self._rules.end_ids
        forced = self._follow_grammar(token, b"" if ends else data)
        self._ids.append(token)
        self._array.append(token)
        self._add(logprob)
        if self._guessed is not None:
            self._guessed += ahead
        # 3) decode to text, and search for stop texts
        shown = distribution(position, look, self._vocabulary, count=self._top)
        step = Step(
            index=len(self._logprobs) - 1,
            id=token,
            text=self._vocabulary.text(token),
            bytes=data,
            piece="" if ends else self._text.feed(data),
            logprob=logprob,
            rank=rank,
            entropy=shown.entropy,
            sampled_prob=prob,
            distribution=shown,
            guessed=None if self._guessed is None else ahead,
            forced=forced or shown.allowed == 1,
        )
        if self._guard is not None:
            self._guard.add(step, b"" if ends else data, before)
        return step

    def _bias_here(self) -> Mapping[int, float]:
        """Return the bias of the next token's logits, with what began a phrase."""
        masked = self._guard.masked(len(self._logprobs)) if self._guard else ()
        if not masked:
            return self._bias
        return {**self._bias, **dict.fromkeys(masked, -math.inf)}

    def _before_token(self, logits: Tensor) -> BeforeToken:
        grammar = self._grammar.copy() if self._grammar else None
        return BeforeToken(logits, len(self._ids), self._text.copy(), grammar)

    def _state_to_return_to(self) -> BeforeToken | None:
        """Return the state before a phrase that the last token completes; None where it
        completes none, or one that stays."""
        return self._guard.go_back() if self._guard else None

    def _return_to(self, before: BeforeToken) -> None:
        """Take back the tokens since `before`."""
        count = len(self._ids) - before.ids
        del self._ids[before.ids :]
        # Positions that were taken back keep views of the old array.
        self._array = GrowingIds(self._ids)
        del self._logprobs[len(self._logprobs) - count :]
        self._text, self._grammar = before.text, before.grammar
        if self._guessed is not None and self._guard is not None:
            removed = self._guard.taken_back[-1].steps
            self._guessed -= sum(bool(step.guessed) for step in removed)

    def _follow_grammar(self, token: int, data: bytes) -> bool:
        """Move the grammar on by a token; return whether it left no other text."""
        if self._grammar is None:
            return False
        forced = self._grammar.forces(data)
        self._grammar.accept(token, data)
        return forced

    def _toss(self) -> float | None:
        """Return the random number that XTC is decided by at the next token."""
        return float(uniform(self._random)) if self._chain.tosses else None

    def _add(self, logprob: float) -> None:
        """Count one more token."""
        self._last_at = time.perf_counter()
        if not self._logprobs:
            self._first_at = self._last_at
        self._logprobs.append(logprob)

    def _reason(self, token: int) -> FinishReason | None:
        """Return why the generation ends after `token`; None if it does not."""
        if token in self._rules.end_ids:
            return FinishReason.STOP
        if self._text.found is not None:
            newline = self._text.found == "\n"
            return FinishReason.NEWLINE if newline else FinishReason.STOP
        if self._grammar is not None and self._grammar.is_finished:
            return FinishReason.STOP
        if len(self._logprobs) >= self._rules.max_tokens:
            return FinishReason.LENGTH
        if len(self._ids) >= self._rules.context:
            return FinishReason.CONTEXT
        return None

    def _broken_off(self, error: Exception) -> GenerationResult:
        """Return the result of a generation that was cancelled, or that has no token to
        go on with."""
        if isinstance(error, Cancelled):
            return self._finish(FinishReason.CANCELLED)
        return self._finish(FinishReason.BLOCKED, str(error))

    def _finish(self, reason: FinishReason, notice: str = "") -> GenerationResult:
        if not self._logprobs:  # before the first token
            self._prompt_read = self._last_at = time.perf_counter()
        return GenerationResult(
            reason=reason,
            tokens=len(self._logprobs),
            logprob=math.fsum(self._logprobs),
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused,
            prompt_seconds=self._prompt_read - self._started,
            seconds=self._last_at - self._prompt_read,
            seed=self._seed,
            piece=self._text.finish(),
            first_token_seconds=(
                self._first_at - self._started if self._logprobs else None
            ),
            guessed_tokens=self._guessed,
            notice=notice or (self._guard.notice if self._guard else ""),
            taken_back=tuple(self._guard.taken_back) if self._guard else (),
        )

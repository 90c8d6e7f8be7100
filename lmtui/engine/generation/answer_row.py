"""One answer while it grows: what is drawn for it, its text, its totals.

Takes the logits after its ids, however they were computed: alone, ahead of time, in a
batch, or by a server. Knows ids and bytes; no KV cache, no chat and no template.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from lmtui.engine.generation.phrases import BeforeToken, PhraseGuard
from lmtui.engine.generation.sampler import Sampler
from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.engine.grammar.matcher import GrammarStuck
from lmtui.engine.grammar.text import grammar_of
from lmtui.engine.sampling.chain import DrawConditions, NothingLeft
from lmtui.engine.sampling.draw import draw, uniform
from lmtui.engine.sampling.logits_store import LogitsView, StoredLogits, distribution
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.servers.draws import DrawnToken
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.token_ids import GrowingIds
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled
from lmtui.models.remote.dialects import DrawSettings
from lmtui.partial import Rank


@dataclass(frozen=True)
class StopRules:
    """Conditions that end a generation, besides its cancellation."""

    end_ids: frozenset[int]
    """Tokens that end the answer; they are generated but are not part of its text."""
    max_tokens: int
    context: int
    """Most tokens that prompt and answer can have together."""
    stop_texts: tuple[str, ...] = ()
    single_line: bool = False
    """End at the first newline, which is not part of the text."""
    min_tokens: int = 0
    """Tokens before which no end token is drawn, and no stop text is looked for."""


@dataclass(frozen=True, slots=True)
class FirstStep:
    """First step that token healing chose; it may take several tokens."""

    ids: tuple[int, ...]
    step: Step
    """Its `bytes` are what the tokens add to the typed text; its `piece` is empty."""
    reused: int
    """Prompt tokens that were already in the KV cache."""


class _Choice(NamedTuple):
    id: int
    logprob: float
    prob: float | None
    rank: Rank


class AnswerRow:
    """State and totals of one answer."""

    def __init__(
        self,
        sampler: Sampler,
        settings: SamplingSettings,
        rules: StopRules,
        *,
        top_n: int,
        start: Sequence[int] = (),
        logit_bias: Mapping[int, float] = MappingProxyType({}),
        drawn: int = 0,
        grammar: AnswerGrammar | None = None,
        is_stored: bool = True,
    ) -> None:
        """`start` are the first tokens of the answer, which are not drawn; `logit_bias`
        is added to the logits of some tokens before anything else; `drawn` tokens were
        drawn with the same seed before; `grammar` is that of the answer, behind
        `start`. Positions that are not stored have no handle."""
        self._sampler = sampler
        self._chain = sampler.chain(settings)
        self._rules = rules
        self._top_n = top_n
        self._start = start
        self._bias = logit_bias
        self.grammar = grammar
        self._is_stored = is_stored
        phrases = self._chain.settings.banned_phrases
        self._guard = PhraseGuard(phrases) if phrases else None
        newline = ("\n",) if rules.single_line else ()
        self._stop_texts = (*rules.stop_texts, *newline)
        self._text = TextStream(() if rules.min_tokens else self._stop_texts)
        # A drawn seed has 32 bits, which every reader of JSON represents exactly.
        random = secrets.randbits(32)
        seed = self._chain.settings.seed
        self._seed = random if seed is None else seed
        self.random = torch.Generator().manual_seed(self._seed)
        for _ in range(drawn):
            self._draw_coin()
            uniform(self.random)
        self.ids: list[int] = []
        """Prompt and answer so far."""
        self._array = GrowingIds(())
        self._logprobs: list[float] = []
        self._prompt_tokens = 0
        self.reused = 0
        """Prompt tokens that were in the KV cache already."""
        self.guessed: int | None = None
        """Tokens whose logits a right guess has computed ahead; None where nothing is
        guessed."""
        self.is_stopped = False
        """Whether nobody wants more of it: it then leaves its batch."""
        self._started = self._prompt_read = time.perf_counter()
        self._first_at = self._last_at = self._started

    def begin(self, prompt: Sequence[int]) -> None:
        """Begin after a prompt, which is yet to be read."""
        self.ids = list(prompt)
        self._array = GrowingIds(prompt)
        self._prompt_tokens = len(prompt)

    def follow_prompt(self, reused: int) -> None:
        """Note that the prompt is read; `reused` tokens of it were in the KV cache."""
        self.reused, self._prompt_read = reused, time.perf_counter()

    @property
    def room(self) -> int:
        """Number of tokens that may still be generated."""
        made, length = len(self._logprobs), len(self.ids)
        return min(self._rules.max_tokens - made, self._rules.context - length)

    @property
    def goes_back(self) -> bool:
        """Whether tokens may be taken back."""
        return self._guard is not None

    # Its tokens.

    def advance(
        self, logits: Tensor, *, ahead: bool = False
    ) -> tuple[Step | None, GenerationResult | None]:
        """Draw the next token from logits [V], which a right guess has computed `ahead`
        or not. Return its step, None where no token can be drawn, and the result if the
        generation ends with it."""
        try:
            step = self.draw(logits, ahead=ahead)
        except (NothingLeft, GrammarStuck) as error:
            return None, self.broken_off(error)
        reason = self.reason(step.id)
        return step, self.finish(reason) if reason else None

    def follow_first(self, first: FirstStep) -> Step:
        """Append the first step, which was chosen elsewhere; return it with its
        text."""
        self.follow_prompt(first.reused)
        self.ids += first.ids
        self._array.append(*first.ids)
        step = first.step
        assert step.logprob is not None
        self._add(step.logprob)
        ends = step.id in self._rules.end_ids
        opened = replace(
            step,
            piece="" if ends else self._text.feed(step.bytes),
            guessed=None if self.guessed is None else False,
        )
        if self._guard is not None:
            self._guard.add(opened, b"" if ends else step.bytes, None)
            self._guard.go_back()  # a phrase that begins here has to stay
        return opened

    def server_settings(self) -> DrawSettings:
        """Return what a server is told that draws the rest."""
        self.random.manual_seed(self._seed)  # as the server does
        settings = self._chain.settings
        grammar = None if settings.grammar is None else grammar_of(settings.grammar)
        return asdict(settings) | {
            "seed": self._seed,
            "max_tokens": self.room,
            "logit_bias": self._chain.all_bias(self._bias),
            "grammar": grammar and (grammar.kind, grammar.text),
        }

    def follow_server(self, token: DrawnToken) -> Step:
        if not self._logprobs:
            self._prompt_read = time.perf_counter()
        return self.draw(token.logits, token)

    @torch.inference_mode()
    def draw(
        self, logits: Tensor, drawn: DrawnToken | None = None, *, ahead: bool = False
    ) -> Step:
        """Sample a token from logits [V], or take the one that was drawn from them or
        that the answer starts with, and append it. A right guess has computed logits
        that are `ahead`.

        Raises:
            NothingLeft, GrammarStuck: there is none.
        """
        # 1) the sampler's stages
        before = self._before_token(logits) if self._guard else None
        made = len(self._logprobs)
        given = self._start[made] if made < len(self._start) else None
        grammar = self.grammar if given is None else None
        conditions = DrawConditions(
            self._array.view(),
            self._token_bias(),
            allowed=grammar.mask() if grammar else None,
            coin=self._draw_coin(),
        )
        position = self._position(logits, conditions)
        look = position.view(self._chain, self._top_n)
        # 2) draw
        if drawn is not None:
            choice, look = self._accept_server_token(position, look, drawn)
        elif given is None:
            choice = self._draw_here(position, look)
        else:
            choice = _forced_choice(position, look, given)
        token = choice.id
        vocabulary = self._sampler.vocabulary
        data = vocabulary.bytes(token)
        ends = token in self._rules.end_ids
        forced = self._follow_grammar(grammar, token, b"" if ends else data)
        self.ids.append(token)
        self._array.append(token)
        self._add(choice.logprob)
        if self.guessed is not None:
            self.guessed += ahead
        # 3) decode to text, and search for stop texts
        shown = distribution(position, look, vocabulary, count=self._top_n)
        step = Step(
            index=made,
            id=token,
            text=vocabulary.text(token),
            bytes=data,
            piece="" if ends else self._piece(data),
            logprob=choice.logprob,
            rank=choice.rank,
            entropy=shown.entropy,
            sampled_prob=choice.prob,
            distribution=shown,
            guessed=None if self.guessed is None else ahead,
            forced=forced or shown.allowed == 1,
        )
        if self._guard is not None:
            self._guard.add(step, b"" if ends else data, before)
        return step

    def _piece(self, data: bytes) -> str:
        """Return the text that the last token adds, given its bytes."""
        if len(self._logprobs) > self._rules.min_tokens:
            self._text.stop_texts = self._stop_texts
        return self._text.feed(data)

    def _position(self, logits: Tensor, conditions: DrawConditions) -> StoredLogits:
        positions = self._sampler.positions
        add = positions.add if self._is_stored else positions.transient
        return add(logits, conditions)

    def _draw_here(self, position: StoredLogits, look: LogitsView) -> _Choice:
        choice = draw(look.sampled, self.random)
        return _Choice(
            int(look.sampled.ids[choice]),
            float(look.sampled_rows.logprobs[choice]),
            float(look.sampled.probs[choice]),
            position.rank(choice, look),
        )

    def _accept_server_token(
        self, position: StoredLogits, look: LogitsView, drawn: DrawnToken
    ) -> tuple[_Choice, LogitsView]:
        uniform(self.random)  # lmtui serve has drawn with it: the next coin agrees
        prob = float(look.sampled.prob(torch.tensor([drawn.id])))
        if not prob:  # the server drew what our filters cut: they differ
            look = replace(look, is_certain=False)
        known = prob if look.is_certain else None
        rank = position.rank_of(drawn.id)
        return _Choice(drawn.id, drawn.logprob, known, rank), look

    def _token_bias(self) -> Mapping[int, float]:
        """Return the bias of the next token's logits, with bans of what began a phrase,
        and of ends that would come too early."""
        made = len(self._logprobs)
        masked = [*self._guard.masked(made)] if self._guard else []
        if made < self._rules.min_tokens:
            masked += self._rules.end_ids
        if not masked:
            return self._bias
        return {**self._bias, **dict.fromkeys(masked, -math.inf)}

    def _follow_grammar(
        self, grammar: AnswerGrammar | None, token: int, data: bytes
    ) -> bool:
        """Move the grammar on by a token; return whether it left no other text."""
        if grammar is None:
            return False
        forced = grammar.forces(data)
        grammar.accept(token, data)
        return forced

    def _draw_coin(self) -> float | None:
        """Return the random number that XTC is decided by at the next token."""
        return float(uniform(self.random)) if self._chain.tosses else None

    def _add(self, logprob: float) -> None:
        self._last_at = time.perf_counter()
        if not self._logprobs:
            self._first_at = self._last_at
        self._logprobs.append(logprob)

    # Banned phrases.

    def settled(
        self, items: Generator[Step | GenerationResult]
    ) -> Iterator[Step | GenerationResult]:
        """Yield the items of the generation, each step once it can't be taken back."""
        with closing(items):
            for item in items:
                if self._guard is None:
                    yield item
                elif isinstance(item, Step):
                    yield from self._guard.sure()
                else:
                    yield from self._guard.rest()
                    yield item

    def take_back(self) -> Tensor | None:
        """Take back the phrase that the last token completes, unless it has to stay;
        return the logits [V] after the ids before it. None where there is none."""
        before = self._guard.go_back() if self._guard else None
        if before is None:
            return None
        count = len(self.ids) - before.ids
        del self.ids[before.ids :]
        # Positions that were taken back keep views of the old array.
        self._array = GrowingIds(self.ids)
        del self._logprobs[len(self._logprobs) - count :]
        self._text, self.grammar = before.text, before.grammar
        if self.guessed is not None and self._guard is not None:
            removed = self._guard.taken_back[-1].steps
            self.guessed -= sum(bool(step.guessed) for step in removed)
        return before.logits

    def _before_token(self, logits: Tensor) -> BeforeToken:
        grammar = self.grammar.copy() if self.grammar else None
        return BeforeToken(logits, len(self.ids), self._text.copy(), grammar)

    # Its end.

    def reason(self, token: int) -> FinishReason | None:
        """Return why the generation ends after `token`; None if it does not."""
        if len(self._logprobs) < len(self._start):
            return None
        ends = token in self._rules.end_ids
        if not ends and self._text.found == "\n":
            return FinishReason.NEWLINE
        is_finished = self.grammar is not None and self.grammar.is_finished
        if ends or self._text.found is not None or is_finished:
            return FinishReason.STOP
        if len(self._logprobs) >= self._rules.max_tokens:
            return FinishReason.LENGTH
        if len(self.ids) >= self._rules.context:
            return FinishReason.CONTEXT
        return None

    def broken_off(self, error: Exception) -> GenerationResult:
        """Return the result of a generation that was cancelled, or that has no token to
        go on with."""
        if isinstance(error, Cancelled):
            return self.finish(FinishReason.CANCELLED)
        return self.finish(FinishReason.BLOCKED, str(error))

    def finish(self, reason: FinishReason, notice: str = "") -> GenerationResult:
        if not self._logprobs:  # before the first token
            self._prompt_read = self._last_at = time.perf_counter()
        return GenerationResult(
            reason=reason,
            tokens=len(self._logprobs),
            logprob=math.fsum(self._logprobs),
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self.reused,
            prompt_seconds=self._prompt_read - self._started,
            seconds=self._last_at - self._prompt_read,
            seed=self._seed,
            piece=self._text.finish(),
            first_token_seconds=(
                self._first_at - self._started if self._logprobs else None
            ),
            guessed_tokens=self.guessed,
            notice=notice or (self._guard.notice if self._guard else ""),
            taken_back=tuple(self._guard.taken_back) if self._guard else (),
        )


def _forced_choice(position: StoredLogits, look: LogitsView, token: int) -> _Choice:
    """Return a token that is not drawn."""
    rows = position.rows(torch.tensor([token]), look.sampled)
    rank = position.rank_of(token) if position.top_logprobs else position.ranks(rows)[0]
    return _Choice(token, float(rows.logprobs[0]), 1.0, rank)

"""Completion of a text at a cursor, with token healing and fill-in-the-middle.

Plans the context, samples the first step from the healed distribution, and hands over
to the decode loop. Control tokens end a completion. Knows no screen and no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from lmtui.engine.document.cursor import CursorPredictor
from lmtui.engine.document.fill_in_the_middle import Infill
from lmtui.engine.document.suggestion import (
    SuggestionBuilder,
    SuggestionRules,
)
from lmtui.engine.document.token_healing import HealedDistribution, HealedRow
from lmtui.engine.document.types import (
    MOSTLY,
    CompletionContext,
    CursorContext,
)
from lmtui.engine.generation.answer_row import AnswerRow, FirstStep, StopRules
from lmtui.engine.generation.generate import generate, generate_rows
from lmtui.engine.generation.sampler import Sampler
from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import ReportCount
from lmtui.engine.rows import steps_of
from lmtui.engine.sampling.chain import filter_logits
from lmtui.engine.sampling.draw import draw
from lmtui.engine.sampling.sampled import SampledDistribution
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.servers.draws import require_drawable
from lmtui.engine.types import (
    Distribution,
    GenerationResult,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.text import bytes_text

_DRAWN_FROM = 1000  # rows that a first step is drawn from where top-k keeps all
_CHARACTERS = 8  # upper bound of the average code points of a token
_TO_CHOOSE_BY = 16  # most tokens of an alternative: all are waited for together
ROWS = 20
"""Least number of rows to compute: as many as a panel shows, so that its request finds
them cached."""


@dataclass(frozen=True, slots=True)
class ContextPlanner:
    """Plans which tokens the model reads before it continues a text."""

    context: int
    """Most tokens that the model can read."""
    window: int
    stride: int
    infill: Infill | None = None

    def completion_context(
        self,
        context: CursorContext,
        after: Callable[[int], Sequence[int]],
        max_new_tokens: int,
    ) -> CompletionContext:
        """Return the context for `max_new_tokens` new tokens at a cursor.

        `after(n)` returns the first n tokens after the cursor, or none.

        Raises:
            LmtuiError: there is nothing to continue, or no room for a single token.
        """
        # At most one token per typed byte, and a new one.
        least = len(context.typed) + 1
        if self.infill and (following := after(self.window)):
            most = self.window + len(context.prefix)
            room = min(most, self.context - least - max_new_tokens)
            ids = self.infill.ids(context.before, following, room=room)
            return CompletionContext(ids, context.typed, infilled=True)
        ids = (*context.prefix, *self._window_ids(context, least, max_new_tokens))
        if not ids:
            raise LmtuiError(
                "there is nothing to continue",
                "there is no text before the cursor",
                "Type a word first, or move the cursor behind one.",
            )
        return CompletionContext(ids, context.typed)

    def _window_ids(
        self, context: CursorContext, minimum: int, max_new_tokens: int
    ) -> Sequence[int]:
        """Return the tokens to read before the piece: those of the window; from one
        stride later where the context would otherwise run out; fewer if there were no
        room to begin."""
        before, room = context.before, self.context - len(context.prefix)
        if len(before) + minimum + max_new_tokens > room and len(before) > self.stride:
            before = before[self.stride :]
        return before[max(0, len(before) + minimum - room) :]


@dataclass(frozen=True, slots=True)
class CompletionModel:
    """Parts of an engine that run a model, and read the text to continue."""

    cache: PrefixCache
    sampler: Sampler
    reader: CursorPredictor
    planner: ContextPlanner
    end_ids: frozenset[int]
    """Tokens that end a continuation."""

    @property
    def context(self) -> int:
        return self.planner.context

    def greedy(self, start: Sequence[int], more: int) -> AnswerRow:
        """Return an answer of `start` and up to `more` greedy tokens."""
        return AnswerRow(
            self.sampler,
            SamplingSettings(temperature=0),
            StopRules(self.end_ids, len(start) + max(0, more), self.context),
            top_n=1,
            start=start,
            is_stored=False,
        )


def heals(settings: SamplingSettings) -> bool:
    """Return whether a half-typed word is completed: a grammar and biases are about
    whole tokens, the first one too."""
    return settings.grammar is None and not settings.logit_bias


class Completer:
    """Continues texts at cursors."""

    def __init__(self, model: CompletionModel) -> None:
        self._model = model

    def completion_context(
        self, text: str, cursor: int, max_new_tokens: int, *, heals: bool = True
    ) -> CompletionContext:
        """Return the context for `max_new_tokens` new tokens at a cursor. Unless it
        `heals`, the tokens of the typed part of a word stand as they are."""
        reader = self._model.reader
        context = reader.context_at(text, cursor)
        if not heals:
            typed = reader.part(text, context.start, cursor).ids
            context = replace(context, before=(*context.before, *typed), typed=b"")

        def after(count: int) -> list[int]:
            return self.after(text, cursor, count) if text[cursor:].strip() else []

        return self._model.planner.completion_context(context, after, max_new_tokens)

    def after(self, text: str, cursor: int, count: int) -> list[int]:
        """Return the first `count` tokens after a cursor."""
        end = min(len(text), cursor + count * _CHARACTERS)
        return self._model.reader.part(text, cursor, end).ids[:count]

    def steps(
        self,
        read: CompletionContext,
        settings: SamplingSettings,
        *,
        lookup_ids: Sequence[int] = (),
        top_n: int,
        single_line: bool,
        progress: ReportCount | None,
    ) -> Iterator[Step | GenerationResult]:
        """Continue a context: yield each step, then the result. Prompt lookup also
        searches the tokens `lookup_ids`."""
        model = self._model
        rules = StopRules(
            end_ids=model.end_ids,
            max_tokens=settings.max_tokens,
            context=model.context,
            single_line=single_line,
        )
        require_drawable(model.cache.backend, model.sampler.chain(settings).settings)
        grammar = None
        if settings.grammar is not None:
            compiled = model.sampler.compiled(settings.grammar)
            grammar = AnswerGrammar(compiled, model.end_ids)
        answer = AnswerRow(model.sampler, settings, rules, top_n=top_n, grammar=grammar)

        # The first step is drawn from the healed distribution of the typed bytes.
        def open_with(random: torch.Generator) -> FirstStep:
            reused = model.cache.rollback_len(model.cache.common(read.ids))
            if progress:
                model.cache.read(read.ids, progress=progress)
            drawn_from = settings.top_k or _DRAWN_FROM if settings.temperature else 1
            healed = self._continuations(read, max(top_n, drawn_from))
            row, step = self._draw_first_row(healed, settings, top_n, random)
            return FirstStep(row.cover.ids, step, reused)

        return generate(
            model.cache,
            answer,
            read.ids,
            open_with=open_with if heals(settings) else None,
            lookup_ids=lookup_ids,
            progress=progress,
        )

    def alternatives(
        self, text: str, cursor: int, rules: SuggestionRules, *, count: int
    ) -> list[str]:
        """Return suggestions with different beginnings, the most probable first; each
        is long enough to choose by."""
        model = self._model
        read = self.completion_context(text, cursor, rules.max_tokens)
        most = min(rules.max_tokens, _TO_CHOOSE_BY)
        rules = replace(rules, max_tokens=most, seconds=None)
        # 1) rows of the healed distribution that may begin a suggestion
        branches: list[tuple[HealedRow, SuggestionBuilder]] = []
        for row in self._continuations(read, count).rows:
            builder = SuggestionBuilder(
                rules, text[cursor:], before=text[:cursor], sees_after=read.infilled
            )
            # However improbable a row is, a suggestion begins with it.
            if row.special is None and builder.feed(row.beyond, 1.0):
                branches.append((row, builder))
        branches = branches[:count]
        # 2) decode all branches as one batch, each until its suggestion ends
        longest = max((len(row.cover.ids) for row, _ in branches), default=0)
        more = min(most - 1, model.context - len(read.ids) - longest)
        answers = [model.greedy(row.cover.ids, more) for row, _ in branches]
        for index, step in steps_of(generate_rows(model.cache, answers, read.ids)):
            row, builder = branches[index]
            if step.index < len(row.cover.ids):
                continue
            if step.id in model.end_ids:
                builder.finish(done=True)
                continue
            answers[index].is_stopped = not builder.feed(step.bytes, step.prob or 0.0)
        # 3) finish those that the rules have not ended
        return list(filter(None, (builder.finish() for _, builder in branches)))

    def _continuations(self, read: CompletionContext, count: int) -> HealedDistribution:
        top = max(count, ROWS)
        healed = self._model.reader.continuations(read.ids, read.typed, top_n=top)
        if self._model.cache.backend.top_logprobs and healed.unexplored > MOSTLY:
            raise LmtuiError(
                "the server does not list how this word goes on",
                "",
                "Finish the word, or use vLLM or lmtui serve.",
            )
        return healed

    def _draw_first_row(
        self,
        healed: HealedDistribution,
        settings: SamplingSettings,
        top_n: int,
        random: torch.Generator,
    ) -> tuple[HealedRow, Step]:
        """Draw one of the rows; return it and its step."""
        if not healed.rows:
            raise LmtuiError("the model has no tokens for this text")
        logprobs = torch.tensor([row.logprob for row in healed.rows])
        kept = filter_logits(logprobs, settings)
        choice = draw(kept, random)
        row = healed.rows[int(kept.ids[choice])]
        vocabulary = self._model.sampler.vocabulary
        control = row.special is not None
        token = row.cover.ids[-1]
        step = Step(
            index=0,
            id=token,
            text=vocabulary.text(token) if control else bytes_text(row.beyond),
            bytes=vocabulary.bytes(token) if control else row.beyond,
            piece="",
            logprob=row.logprob,
            rank=1 + sum(other.logprob > row.logprob for other in healed.rows),
            entropy=healed.entropy,
            sampled_prob=float(kept.probs[choice]),
            distribution=_with_sampled_probs(
                self._model.reader.distribution(healed, top_n), kept
            ),
        )
        return row, step


def _with_sampled_probs(
    shown: Distribution, sampled: SampledDistribution
) -> Distribution:
    """Return `shown` with the sampler's probs and cuts; the ids of `sampled` are row
    indices."""
    indexes = torch.arange(len(shown.candidates))
    probs, cuts = sampled.prob(indexes), sampled.cuts(indexes, sampled.logits[indexes])
    rows = zip(shown.candidates, probs.tolist(), cuts, strict=True)
    return replace(
        shown,
        candidates=tuple(
            row._replace(sampled_prob=prob, cut=cut) for row, prob, cut in rows
        ),
        rest_sampled_prob=max(0.0, 1 - float(probs.sum())),
        remaining=len(sampled),
        remaining_prob=float(sampled.logits[sampled.ids].double().exp().sum()),
    )

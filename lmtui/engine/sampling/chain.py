"""The sampler's chain: its stages in the user's order, applied to one position.

Bans, bias and the grammar's mask come first; the other stages follow in the order of
`sampler_order`. A stage changes logits, or keeps consecutive tokens of the ranking.
Knows no model and no cache. V is the size of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lmtui.engine import token_bias
from lmtui.engine.sampling.dry import (
    DrySettings,
    RepeatedPassage,
    penalize_repeats,
    repeated_passages,
)
from lmtui.engine.sampling.filters import FILTERS
from lmtui.engine.sampling.penalties import (
    biased,
    masked,
    occurrences,
    penalize,
)
from lmtui.engine.sampling.ranked_tokens import FIRST_LOOK, RankedTokens
from lmtui.engine.sampling.ranks import (
    Ranking,
    rank,
    standard_deviation,
    to_cpu,
    to_device,
)
from lmtui.engine.sampling.sampled import Band, Changes, SampledDistribution
from lmtui.engine.sampling.stages import BY_NAME, active_stages
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.softmax import log_total
from lmtui.engine.token_ids import Ids
from lmtui.engine.types import Mark
from lmtui.errors import LmtuiError

_NO_IDS = np.zeros(0, dtype=np.int64)


class NothingLeft(LmtuiError):
    """Bans and grammar together leave no token that could be drawn."""

    def __init__(self) -> None:
        super().__init__(
            "no token is left to draw",
            "bans and grammar together forbid all",
            "Take back a ban, or change the grammar.",
        )


class TokenLookup(Protocol):
    """Tokens of a vocabulary by their bytes."""

    @property
    def control_ids(self) -> frozenset[int]:
        """The control tokens, such as the one that ends an answer."""

    def spell(self, token: int) -> bytes:
        """Return the bytes of a token."""

    def spelled(self, data: bytes) -> Sequence[int]:
        """Return the tokens with exactly these bytes."""

    def containing(self, texts: tuple[bytes, ...]) -> frozenset[int]:
        """Return the tokens that contain one of some texts."""


@dataclass(frozen=True, slots=True)
class DrawConditions:
    """What a draw depends on besides logits and settings."""

    context: Ids = field(default_factory=lambda: _NO_IDS)
    """Tokens before, int64 [n]."""
    bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of some tokens, besides the settings' own bias."""
    allowed: Tensor | None = None
    """Tokens that the grammar allows, bool [V]; None without a grammar."""
    coin: float | None = None
    """Random number from 0 up to 1 that XTC was decided by; None where nothing was
    drawn."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Logits of a position as the first filter gets them."""

    logits: Tensor
    """float32 [V], on the model's device."""
    temperature: float
    """What they are still to be divided by."""
    stages: tuple[str, ...]
    """The stages that follow."""
    changes: Changes
    allowed: int
    """Number of tokens that neither a ban nor the grammar forbids."""


Observe = Callable[[str, RankedTokens | Tensor], None]


class SamplerChain:
    """Settings of the sampler, ready to be applied to positions of one vocabulary."""

    def __init__(
        self,
        settings: SamplingSettings,
        lookup: TokenLookup | None = None,
        *,
        until: str | None = None,
    ) -> None:
        """Without `lookup`, there are no entries of `logit_bias` and no breakers. With
        `until`, the chain ends after that stage: one of `STAGES`, `bias` or
        `grammar`."""
        self.settings = settings
        self.spell: Callable[[int], bytes]
        """Returns the bytes of a token."""
        self.spell = lookup.spell if lookup else lambda token: b""
        self._uses_grammar = until != "bias"
        order = settings.sampler_order
        if until is not None:
            order = order[: order.index(until) + 1] if until in order else ()
        self.stages = active_stages(settings, order)
        """Stages that do anything, in their order."""
        self._bias: dict[int, float] = {}
        self._on_device: tuple[Tensor, Tensor] | None = None
        self.without_token: list[bytes] = []
        """Entries of `logit_bias` that are no single token of this vocabulary."""
        if lookup and settings.logit_bias:
            for data, bias in token_bias.parse(settings.logit_bias).items():
                ids = lookup.spelled(data)
                self._bias.update(dict.fromkeys(ids, bias))
                if not ids:
                    self.without_token.append(data)
        self._banned = [token for token, b in self._bias.items() if b == -math.inf]
        breakers = tuple(text.encode() for text in settings.dry_breakers if text)
        looked_up = lookup if "dry" in self.stages else None
        self._dry = DrySettings(
            settings.dry_multiplier,
            settings.dry_base,
            settings.dry_allowed_length,
            breakers,
            looked_up.containing(breakers) if looked_up else frozenset(),
            looked_up.control_ids if looked_up else frozenset(),
        )

    @property
    def tosses(self) -> bool:
        """Whether each draw tosses a coin for XTC."""
        return "xtc" in self.stages

    def prepare(
        self,
        logits: Tensor,
        conditions: DrawConditions,
        *,
        observe: Observe | None = None,
    ) -> Prepared:
        """Apply everything before the first filter to logits [V], on their device."""
        # 1) bans, bias and the grammar's mask, which have no place in the order
        logits, allowed, changes = self._apply_constraints(logits, conditions, observe)
        # 2) penalties and DRY change logits [V]. A temperature is kept as a number, so
        # that no pass over the vocabulary is needed for it, unless a penalty follows.
        temperature = 1.0
        for index, stage in enumerate(self.stages):
            if stage == "temperature" and self.settings.temperature != 0:
                temperature = self.settings.temperature
            elif BY_NAME[stage].changes_logits:
                if temperature != 1:
                    logits, temperature = logits / temperature, 1.0
                logits, change = self._apply_penalties(stage, logits, conditions)
                changes += (change,)
            else:  # 3) the first filter, which needs the ranking
                return Prepared(
                    logits, temperature, self.stages[index:], changes, allowed
                )
            if observe:
                observe(stage, logits.double() / temperature)
        return Prepared(logits, temperature, (), changes, allowed)

    def _apply_constraints(
        self, logits: Tensor, conditions: DrawConditions, observe: Observe | None
    ) -> tuple[Tensor, int, Changes]:
        """Apply bans, bias and the grammar's mask. Return logits [V], how many tokens
        are allowed, and the changes."""
        bias, changes = self.all_bias(conditions.bias), Changes()
        if bias:
            logits = biased(logits, *self._bias_tensors(bias, logits))
            changes = ((BY_NAME["bias"].mark, bias),)
            if observe:
                observe("bias", logits)
        if conditions.allowed is not None and self._uses_grammar:
            logits = masked(logits, conditions.allowed)
            if observe:
                observe("grammar", logits)
        return logits, self._count_allowed(bias, conditions, logits.numel()), changes

    def _count_allowed(
        self, bias: Mapping[int, float], conditions: DrawConditions, size: int
    ) -> int:
        """Return how many of all tokens neither a ban nor the grammar forbids."""
        banned = self._banned
        if bias is not self._bias:
            banned = [token for token, value in bias.items() if value == -math.inf]
        if conditions.allowed is None or not self._uses_grammar:
            return size - len(banned)
        allowed = conditions.allowed.numpy()
        return int(np.count_nonzero(allowed) - np.count_nonzero(allowed[banned]))

    def all_bias(self, more: Mapping[int, float]) -> Mapping[int, float]:
        """Return the bias of the settings, by the ids of tokens, together with
        `more`."""
        if not more:
            return self._bias
        both = dict(self._bias)
        for token, value in more.items():
            both[token] = both.get(token, 0.0) + value
        return both

    def _bias_tensors(
        self, bias: Mapping[int, float], logits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ids and values of a bias, on the device of `logits`; those of the
        settings stay there."""
        if bias is self._bias and self._on_device:
            return self._on_device
        ids = to_device(list(bias), logits)
        tensors = ids, logits.new_tensor(list(bias.values()))
        if bias is self._bias:
            self._on_device = tensors
        return tensors

    def _apply_penalties(
        self, stage: str, logits: Tensor, conditions: DrawConditions
    ) -> tuple[Tensor, tuple[Mark, Container[int]]]:
        """Apply the penalties or DRY to logits [V]; return them and what changed."""
        settings = self.settings
        if stage == "dry":
            passages = self.passages(conditions.context)
            logits = penalize_repeats(logits, passages, self._dry)
            return logits, (BY_NAME[stage].mark, passages)
        context = _last(conditions.context, settings.penalty_window)
        counts = occurrences(context, logits.numel())
        logits = penalize(
            logits,
            context,
            counts,
            repetition=settings.repetition_penalty,
            presence=settings.presence_penalty,
            frequency=settings.frequency_penalty,
        )
        return logits, (BY_NAME[stage].mark, context)

    def passages(self, context: Ids) -> Mapping[int, RepeatedPassage]:
        """Return the repeated passages that DRY sees at the end of a context [n], by
        the token that would go on with one."""
        window = _last(context, self.settings.dry_window)
        before = len(context) - len(window)
        by_token = repeated_passages(window, self._dry, self.spell)
        return {
            token: replace(passage, start=before + passage.start)
            for token, passage in by_token.items()
        }

    def ranking_inputs(self, prepared: Prepared) -> list[Tensor]:
        """Return the tensors of a `Ranking`, still on their device: as many tokens as
        the filters usually need, and `ranking_totals`."""
        ranked = rank(prepared.logits, self.ranking_size(prepared))
        return [*ranked, *self.ranking_totals(prepared)]

    def ranking_size(self, prepared: Prepared, minimum: int = 0) -> int:
        """Return how many tokens the filters usually need, `minimum` at the least."""
        first = prepared.stages[0] if prepared.stages else ""
        usual = {"temperature": 1, "top_k": self.settings.top_k}
        size = max(usual.get(first, FIRST_LOOK), minimum)
        return min(size, prepared.logits.numel())

    def ranking_totals(self, prepared: Prepared) -> list[Tensor]:
        """Return what the filters need of all tokens, still on their device."""
        first = prepared.stages[0] if prepared.stages else ""
        if first == "top_n_sigma":
            return [standard_deviation(prepared.logits)]
        if first in ("temperature", "top_k") or prepared.logits.numel() <= FIRST_LOOK:
            return []
        return [log_total(prepared.logits, prepared.temperature)]

    def filter(
        self,
        prepared: Prepared,
        table: Sequence[Tensor],
        conditions: DrawConditions,
        *,
        observe: Observe | None = None,
    ) -> SampledDistribution:
        """Apply the filters to prepared logits; `table` are their `ranking_inputs` in
        main memory.

        Raises:
            NothingLeft: no token can be drawn.
        """
        # 1) the ranking, with what was computed on the device along with it
        ids, values, *more = table
        if not values[0] > -math.inf:
            raise NothingLeft
        ranking = Ranking(prepared.logits, ids.numpy(), values.numpy())
        if prepared.stages[:1] == ("top_n_sigma",):
            ranking.deviation = float(more.pop())
        if more:
            ranking.totals[prepared.temperature, None] = float(more.pop())
        # 2) each filter keeps a band of the ranking; a penalty behind one ranks the
        # tokens that are left again, and later bands are of that ranking
        kept = RankedTokens(ranking, prepared.temperature, prepared.allowed)
        bands, changes, later = list[Band](), prepared.changes, list[Tensor]()
        for stage in prepared.stages:
            if BY_NAME[stage].changes_logits:
                kept, change = self._rerank(stage, kept, conditions)
                later.append(kept.ranking.logits)
                changes += (change,)
            else:
                before = len(kept)
                FILTERS[stage](kept, self.settings, conditions.coin)
                if len(kept) < before:
                    mark, last = BY_NAME[stage].mark, kept.last_key()
                    first = kept.ranking.key(kept.start) if kept.start else None
                    bands.append(Band(mark, len(later), first, last))
            if observe:
                observe(stage, kept)
        # 3) what is left, as probabilities
        kept_ids, _ = kept.ranking.first(kept.stop)
        return SampledDistribution(
            ids=torch.from_numpy(kept_ids[kept.start :]),
            probs=torch.from_numpy(kept.probs(len(kept))),
            bands=tuple(bands),
            logits=prepared.logits,
            later=tuple(later),
            start=kept.start,
            allowed=conditions.allowed if self._uses_grammar else None,
            bias=self.all_bias(conditions.bias),
            changes=changes,
        )

    def _rerank(
        self, stage: str, kept: RankedTokens, conditions: DrawConditions
    ) -> tuple[RankedTokens, tuple[Mark, Container[int]]]:
        """Change the logits of the tokens that are left, and rank these again."""
        ids, values = kept.ranking.first(kept.stop)
        ids, values = ids[kept.start :], values[kept.start :]
        logits = torch.full((kept.ranking.logits.numel(),), -math.inf)
        scaled = torch.from_numpy(values) / kept.temperature
        logits[torch.from_numpy(ids)] = scaled
        logits, change = self._apply_penalties(stage, logits, conditions)
        count = len(kept)
        again, least = rank(logits, count)
        ranking = Ranking(logits, again.numpy(), least.numpy())
        return RankedTokens(ranking, 1.0, count), change


def _last(context: Ids, window: int) -> Ids:
    """Return the last tokens of a context [n]; all for a window of 0."""
    return context[-window:] if window else context


def filter_logits(
    logits: Tensor,
    settings: SamplingSettings,
    context: Iterable[int] = (),
    *,
    coin: float | None = None,
) -> SampledDistribution:
    """Apply all stages but the draw to raw logits [V], without bias and breakers;
    `context` are the tokens before."""
    chain = SamplerChain(settings)
    ids = np.fromiter(context, dtype=np.int64)
    conditions = DrawConditions(ids, coin=coin)
    prepared = chain.prepare(logits, conditions)
    table = to_cpu(*chain.ranking_inputs(prepared))
    return chain.filter(prepared, table, conditions)

"""Effects of each stage of the sampler's chain at one position.

Computed for the eye, from the probabilities before and after each stage; the decode
loop does without.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.ranked_tokens import RankedTokens
from lmtui.engine.sampling.ranks import to_cpu
from lmtui.engine.types import SeenRepeat, StageEffect
from lmtui.text import bytes_text

_ROUNDING = 1e-12  # sum of the errors of float64 probabilities


def stage_effects(
    chain: SamplerChain, logits: Tensor, conditions: DrawConditions
) -> tuple[StageEffect, ...]:
    """Return what each stage that does anything did to logits [V], in the order of the
    chain."""
    effects: list[StageEffect] = []
    probs = _probs(logits)
    everything = left = int((logits > -math.inf).sum())

    def observe(stage: str, state: RankedTokens | Tensor) -> None:
        nonlocal probs, left
        before, had = probs, left
        if isinstance(state, RankedTokens):
            probs, left = _kept_probs(state), len(state)
        else:
            probs, left = _probs(state), int((state > -math.inf).sum())
        moved = float((before - probs).abs().sum() / 2)
        effects.append(
            StageEffect(
                stage,
                removed=had - left,
                left=left,
                moved_mass=moved if moved > _ROUNDING else 0.0,
                coin=conditions.coin if stage == "xtc" else None,
                repeat=_repeat(chain, conditions) if stage == "dry" else None,
            )
        )

    prepared = chain.prepare(logits, conditions, observe=observe)
    table = to_cpu(*chain.ranking_inputs(prepared))
    chain.filter(prepared, table, conditions, observe=observe)
    lost = tuple(
        data.decode("utf-8", "backslashreplace") for data in chain.without_token
    )
    if lost:
        own = effects.pop(0) if effects and effects[0].stage == "bias" else None
        own = own or StageEffect("bias", 0, everything, 0.0)
        effects.insert(0, replace(own, without_token=lost))
    return tuple(effects)


def _probs(logits: Tensor) -> Tensor:
    """Return the probabilities of logits [V]; float64 [V], in main memory. Those of
    logits that are all -inf are 0."""
    return logits.double().softmax(-1).nan_to_num_(0.0).cpu()


def _kept_probs(kept: RankedTokens) -> Tensor:
    """Return the probabilities of the tokens that are left, float64 [V]; 0 for all
    others."""
    if kept.is_everything:
        return _probs(kept.ranking.logits.double() / kept.temperature)
    probs = torch.zeros(kept.ranking.logits.numel(), dtype=torch.float64)
    ids, _ = kept.ranking.first(kept.stop)
    probs[torch.from_numpy(ids[kept.start :])] = torch.from_numpy(kept.probs(len(kept)))
    return probs


def _repeat(chain: SamplerChain, conditions: DrawConditions) -> SeenRepeat | None:
    passages = chain.passages(conditions.context).values()
    if not passages:
        return None
    longest = max(passages, key=lambda passage: passage.length)
    ids = conditions.context.tolist()
    start, end = longest.start, longest.start + longest.length
    text = b"".join(map(chain.spell, ids[start:end]))
    following = bytes_text(chain.spell(longest.token))
    return SeenRepeat(start, end, bytes_text(text), following)

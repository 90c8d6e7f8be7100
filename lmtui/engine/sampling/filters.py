"""Filters of the sampler: which of the ranked tokens they keep.

Each is a pure function on the first n tokens of a ranking; all keep consecutive ones.
`FILTERS` applies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from lmtui.engine.sampling.ranked_tokens import FIRST_LOOK, Probs, RankedTokens
from lmtui.engine.sampling.ranks import standard_deviation
from lmtui.engine.sampling_settings import SamplingSettings


def count_top_p(probs: Probs, top_p: float) -> int:
    """Return how many of the ranked probs [n] top-p keeps: up to and including the one
    that reaches the mass (Holtzman et al. 2020, nucleus sampling)."""
    if top_p >= 1:
        return len(probs)
    return min(int(probs.cumsum().searchsorted(top_p)) + 1, len(probs))


def count_min_p(probs: Probs, min_p: float) -> int:
    """Return how many of the ranked probs [n] are at least `min_p` of the first (Nguyen
    et al. 2024, min-p sampling)."""
    return count_at_least(probs, min_p * float(probs[0]))


def typical_band(probs: Probs, typical_p: float) -> tuple[int, int]:
    """Return start and end of those of the ranked probs [n] that locally typical
    sampling keeps: the tokens whose surprise is nearest to the entropy, up to and
    including the one that reaches the mass (Meister et al. 2023).

    Of equally near tokens, the one next to those that are kept comes first, and the
    more probable one of two on both sides.
    """
    if not probs[-1] > 0:
        probs = probs[probs > 0]
    surprise = -np.log(probs)
    entropy = float(probs @ surprise)
    distance = np.abs(surprise - entropy)
    above = int(surprise.searchsorted(entropy))  # tokens that are more probable
    outwards = np.concatenate([np.arange(above)[::-1], np.arange(above, len(probs))])
    nearest = outwards[distance[outwards].argsort(kind="stable")]
    kept = nearest[: count_top_p(probs[nearest], typical_p)]
    start = above - int(np.count_nonzero(kept < above))
    return start, start + len(kept)


def count_at_least(probs: Probs, threshold: float) -> int:
    """Return how many of the ranked probs [n] are at least a threshold.

    XTC ("exclude top choices", p-e-w 2024, text-generation-webui#6335) removes these
    but the last of them.
    """
    return int(np.count_nonzero(probs >= threshold))


Filter = Callable[[RankedTokens, SamplingSettings, float | None], None]
"""Applies a stage to the tokens that are left; the number is the coin of XTC, None
where nothing is drawn."""


def _temperature(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    kept.apply_temperature(settings.temperature)


def _top_n_sigma(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    """Keep logits down to some standard deviations below the greatest (Tang et al.
    2024, Top-nσ)."""
    greatest = float(kept.values(1)[0])
    kept.cut_below(greatest - settings.top_n_sigma * _deviation(kept))


def _deviation(kept: RankedTokens) -> float:
    """Return the standard deviation of the logits that are left, before any
    temperature: both sides of the comparison scale alike."""
    if not kept.is_everything:
        values = kept.values(len(kept))
        return float(np.std(values[values > -math.inf]))
    if kept.ranking.deviation is None:
        return float(standard_deviation(kept.ranking.logits))
    return kept.ranking.deviation


def _top_k(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    """Keep the k most probable tokens (Fan et al. 2018, section 5.4)."""
    kept.cut_to(0, min(settings.top_k or len(kept), len(kept)))


def _typical_p(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    kept.cut_to(*typical_band(kept.probs(len(kept)), settings.typical_p))


def _top_p(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    kept.cut_to(
        0, kept.count(lambda probs: count_top_p(probs, settings.top_p), kept.probs)
    )


def _min_p(kept: RankedTokens, settings: SamplingSettings, _: object) -> None:
    look = min(len(kept), FIRST_LOOK)
    kept_count = count_min_p(kept.probs(look), settings.min_p)
    if kept_count < look or look == len(kept):
        kept.cut_to(0, kept_count)
    else:  # by the least logit that is kept, before the temperature
        greatest = float(kept.values(1)[0])
        kept.cut_below(greatest + kept.temperature * math.log(settings.min_p))


def _xtc(kept: RankedTokens, settings: SamplingSettings, coin: float | None) -> None:
    if coin is None or coin < settings.xtc_probability:
        above = kept.count(
            lambda probs: count_at_least(probs, settings.xtc_threshold), kept.probs
        )
        kept.cut_to(max(0, above - 1), len(kept))


FILTERS: Mapping[str, Filter] = {
    "temperature": _temperature,
    "top_n_sigma": _top_n_sigma,
    "top_k": _top_k,
    "typical_p": _typical_p,
    "top_p": _top_p,
    "min_p": _min_p,
    "xtc": _xtc,
}
"""The stages that remove tokens, and the temperature, by their names."""

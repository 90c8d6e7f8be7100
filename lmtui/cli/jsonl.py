"""One JSON object a line, valid and harmless whatever it holds.

Owns the encoding: UTF-8 text kept as it is, control and bidi characters escaped
(the value is the same, a terminal can't obey them), NaN and infinity as null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmtui.engine.types import Candidate, EngineInfo, SamplingSettings
from lmtui.text import safe_json

Event = Mapping[str, Any]


def encode(event: Event) -> str:
    """`event` as one line, with its newline."""
    try:
        line = _dumps(event)
    except ValueError:  # a number that JSON can't hold
        line = _dumps(_finite(event))
    return safe_json(line) + "\n"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    """`value` with every NaN and infinity in it replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def adapter_field(info: EngineInfo) -> Event:
    """The adapter beside the model, where there is one."""
    return {"adapter": info.adapter} if info.adapter else {}


def sampling_fields(sampling: SamplingSettings) -> Event:
    """All sampling settings, in the order in which they act."""
    return {name: getattr(sampling, name) for name in sampling.__slots__}


def drawn_rows(candidates: Sequence[Candidate]) -> list[Event]:
    """Rows of a distribution with what the sampler made of them."""
    return [
        {
            "id": row.id,
            "text": row.text,
            "logprob": row.logprob,
            "sampled_prob": row.sampled_prob,
            "cut": row.cut,
        }
        for row in candidates
    ]


def scored_rows(candidates: Sequence[Candidate]) -> list[Event]:
    """Rows of a distribution that nothing was drawn from."""
    return [
        {"id": row.id, "text": row.text, "logprob": row.logprob} for row in candidates
    ]

"""Facts about a loaded model, as screens and commands show them."""

from __future__ import annotations

from lmtui.engine.backend import NO_STATES, AnyBackend, Reuse
from lmtui.engine.scoring.score import ScoringBackend
from lmtui.engine.types import Capabilities, EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.models.loaded_model import LoadedModel


def capabilities_of(backend: AnyBackend, *, infill: bool) -> Capabilities:
    """Return what can be done with a model that this backend runs."""
    no_lens = NO_STATES if backend.is_remote else ""
    batches = backend.reuse is not Reuse.NOTHING and not backend.is_remote
    if backend.top_logprobs is None:
        return Capabilities(infill=infill, why_no_lens=no_lens, batches=batches)
    scores = isinstance(backend, ScoringBackend) and backend.scores_prompts
    return Capabilities(
        infill=infill,
        why_no_lens=no_lens,
        batches=batches,
        top_logprobs=backend.top_logprobs,
        scores=scores,
        proofreads=False,
        why_not=f"The server tells the {backend.top_logprobs:,} most probable tokens "
        "only" + ("." if scores else ", and no scores of a text."),
    )


def info_of(
    loaded: LoadedModel,
    *,
    context: int | None,
    has_template: bool,
    switches_thinking: bool = False,
    slots: int = 1,
) -> EngineInfo:
    """Return the facts about a loaded model; `context` lowers the model's own limit.

    Raises:
        LmtuiError: `context` is not from 2 to the model's own limit.
    """
    facts = loaded.facts
    most = facts.context
    if context is not None and not 2 <= context <= most:
        raise LmtuiError(
            "the context can't be used",
            f"{context} tokens",
            f"Give a --context from 2 to {most}, what this model was made for.",
        )
    return EngineInfo(
        model=loaded.name,
        architecture=facts.architecture,
        parameters=facts.parameters,
        vocabulary=facts.vocabulary,
        context=context or most,
        device=loaded.device_name,
        dtype=loaded.number_format,
        precision=loaded.precision,
        threads=loaded.threads,
        has_template=has_template,
        slots=slots,
        generation_defaults=facts.generation_defaults
        or catalogue.sampler_of(loaded.name),
        adapter=loaded.adapter,
        switches_thinking=switches_thinking,
        why=loaded.why,
        end_ids=tuple(sorted(facts.end_ids)),
    )

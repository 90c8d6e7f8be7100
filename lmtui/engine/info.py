"""What is loaded, as the rest of the program is told.

Owns how much context a model gets. Runs nothing.
"""

from __future__ import annotations

from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models.loaded import Loaded


def describe(
    loaded: Loaded,
    *,
    context: int | None,
    has_template: bool,
    switches_thinking: bool = False,
) -> EngineInfo:
    """What is loaded; `context` limits what the model was made for.

    Raises:
        LmtuiError: the model was not made for that much context.
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
        device=str(loaded.device),
        dtype=loaded.number_format,
        precision=loaded.precision,
        threads=loaded.threads,
        has_template=has_template,
        generation_defaults=facts.generation_defaults,
        adapter=loaded.adapter,
        switches_thinking=switches_thinking,
        why=loaded.why,
    )

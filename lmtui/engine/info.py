"""What is loaded, as the rest of the program is told.

Owns how much context a model gets. Reads the model's config; runs nothing.
"""

from __future__ import annotations

from lmtui.engine.types import EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models.load import Loaded

_SAMPLING_DEFAULTS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def describe(loaded: Loaded, *, context: int | None, has_template: bool) -> EngineInfo:
    """What is loaded; `context` limits what the model was made for.

    Raises:
        LmtuiError: the model was not made for that much context.
    """
    model = loaded.model
    config = model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None) or 2048
    if context is not None and not 2 <= context <= most:
        raise LmtuiError(
            "the context can't be used",
            f"{context} tokens",
            f"Give a --context from 2 to {most}, what this model was made for.",
        )
    defaults = {
        name: getattr(model.generation_config, name, None)
        for name in _SAMPLING_DEFAULTS
    }
    return EngineInfo(
        model=loaded.name,
        architecture=type(model).__name__,
        parameters=model.num_parameters(),
        vocabulary=config.vocab_size,
        context=context or most,
        device=str(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
        precision=loaded.precision,
        threads=loaded.threads,
        has_template=has_template,
        generation_defaults=tuple(
            (name, float(value))
            for name, value in defaults.items()
            if value is not None
        ),
        adapter=loaded.adapter,
    )

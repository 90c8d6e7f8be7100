"""The sampling settings that the makers of a model recommend, found without loading it.

Reads the model's files where they are on this machine, and the catalogue.
"""

from __future__ import annotations

from lmtui.errors import LmtuiError
from lmtui.models import catalogue, describe, source
from lmtui.models.gguf.generation import sampling_in
from lmtui.models.gguf.header import read_gguf_header
from lmtui.models.model_info import recommended_in

Numbers = tuple[tuple[str, float], ...]


def recommended_for(spec: str | None) -> Numbers:
    """Return the sampling settings for a value of `--model`, by their names; empty
    where nothing is recommended, or that is not known yet."""
    try:
        model_source = source.resolve(spec)
        numbers = _in_files(model_source)
    except (LmtuiError, OSError, ValueError):
        return ()
    return numbers or catalogue.sampler_of(model_source.name)


def _in_files(model_source: source.ModelSource) -> Numbers:
    if isinstance(model_source, source.DefaultModel):
        return ()
    path = describe.path_of(model_source)
    if path is None:
        return ()
    if path.is_file():
        return tuple(sampling_in(read_gguf_header(path)).items())
    return recommended_in(path)

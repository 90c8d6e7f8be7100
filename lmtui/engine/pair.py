"""Two engines to compare: a model, and the same with another adapter.

Owns that the two share the weights of the model, so that the second costs the
adapter's memory alone. They are engines like any other, and may be asked in turns.
"""

from __future__ import annotations

from lmtui.engine.local import LocalEngine
from lmtui.models.load import load_pair
from lmtui.models.loaded import How


def open_pair(
    spec: str | None,
    *,
    adapter: str | None,
    other: str,
    how: How,
    context: int | None = None,
) -> tuple[LocalEngine, LocalEngine]:
    """Load the model that `spec` names, with `adapter` or without one, and the same
    with the adapter `other`.

    Raises:
        LmtuiError: it can't be found, fetched or loaded here.
    """
    own, beside = load_pair(spec, adapter=adapter, other=other, how=how)
    return LocalEngine(own, context=context), LocalEngine(beside, context=context)

"""Whether a model is on this machine.

Owns the one answer: what is wanted can be loaded without fetching gigabytes. Looks at
the disk, never at the network, and reads no weights.
"""

from __future__ import annotations

from lmtui.errors import LmtuiError
from lmtui.models import adapters, describe, source
from lmtui.models.wanted import Wanted


def is_here(wanted: Wanted) -> bool:
    """Whether a model and its adapter are here. The default model always counts as
    here: it is fetched at its first use by every verb."""
    try:
        if wanted.adapter is None:
            return _is_here(source.resolve(wanted.model))
        adapter = adapters.find(wanted.adapter)
        if adapter.is_whole:
            return True
        if wanted.model is None:
            return _is_here(adapters.model_for(adapter))
        return _is_here(source.resolve(wanted.model))
    except LmtuiError:
        return False


def _is_here(found: source.Source) -> bool:
    default = isinstance(found, source.DefaultModel)
    return default or describe.place_of(found) is not None


def not_here(label: str, hint: str) -> LmtuiError:
    """That a conversation's model is gone."""
    title = "the model of this conversation is not on this machine"
    return LmtuiError(title, label, hint)

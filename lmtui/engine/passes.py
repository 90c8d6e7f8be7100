"""Which code runs a model that was loaded.

Owns that choice. What it chooses from is imported only then: the library of one takes
longer to import than a packed model to load.
"""

from __future__ import annotations

from lmtui.engine.forward import Forward
from lmtui.models.loaded import Loaded


def forward_of(loaded: Loaded, *, lasting: bool) -> Forward:
    """What runs the model, for many answers where it is `lasting`."""
    if loaded.is_lean:
        from lmtui.engine.fast.forward import LeanForward

        return LeanForward(loaded.model.weights, lasting=lasting)
    if loaded.device.type == "cuda":
        from lmtui.engine.static import StaticForward

        if StaticForward.suits(loaded.model):
            return StaticForward(loaded.model)
    from lmtui.engine.library import LibraryForward

    return LibraryForward(loaded.model)

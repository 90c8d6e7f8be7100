"""`--resume`: with which model a kept conversation goes on.

Owns the rule: with the one that a flag names, or else its own; never with another one
by itself. Whether that is here is looked up; nothing is fetched for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lmtui.errors import LmtuiError
from lmtui.models import here
from lmtui.models.wanted import named
from lmtui.settings import Origin, Settings

if TYPE_CHECKING:
    from lmtui.chat.listed import Loaded

_HINT = "Name another model with --model to resume with it."


def with_own_model(
    settings: Settings, before: Loaded | None
) -> tuple[Settings, LmtuiError | None]:
    """The settings with the model of a conversation, and why it can't be had."""
    from lmtui.chat.whose import model_of

    label = model_of(before.conversation) if before else None
    given = {settings.origin(name).source for name in ("model", "adapter")}
    if label is None or "flag" in given:
        return settings, None
    own, origin = named(label), Origin("flag", "--resume")
    origins = {**settings.origins, "model": origin, "adapter": origin}
    settings = replace(settings, model=own.model, adapter=own.adapter, origins=origins)
    return settings, None if here.is_here(own) else here.not_here(label, _HINT)

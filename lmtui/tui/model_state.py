"""Which model the program has, or is on the way to.

Owns the one value that every screen shows, and the words for it. Knows no screen and
no engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lmtui.engine.types import Capabilities, EngineInfo
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.models.source import ModelRef, short_label
from lmtui.text import visible_line
from lmtui.tui.engine.messages import ModelLoadProgressed

DEFAULT = "default"
LOADING = "loading the model"


@dataclass(frozen=True, slots=True)
class ModelState:
    """The model that is wanted, and how far it is."""

    wanted: ModelRef = field(default_factory=ModelRef)
    info: EngineInfo | None = None
    """What is loaded; None while it loads and when it can't be."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    """What it can tell."""
    against: EngineInfo | None = None
    """What it is compared with, if anything."""
    doing: str = ""
    """What is being done to get it, and how much of it."""
    share: float | None = None
    """How much of that is done, from 0 to 1, where it can be counted."""
    error: LmtuiError | None = None
    """Why there is none."""
    before: ModelRef | None = None
    """What was in use before this, if anything."""

    @property
    def name(self) -> str:
        """What is wanted, by name, safe to draw."""
        if self.info is not None and self.info.adapter:
            return shown_label(self.info.label)  # now it is known on which model
        return shown_name(self.wanted)

    @property
    def in_use(self) -> ModelRef | None:
        """What is loaded, by the names under which it was; None while nothing is."""
        return ModelRef(self.info.model, self.info.adapter) if self.info else None

    @property
    def loading(self) -> bool:
        """Whether it is on its way."""
        return self.info is None and self.error is None

    @property
    def words(self) -> str:
        """How it is with the model, in a line."""
        if self.error:
            return visible_line(self.error.title)
        if self.info is None:
            return self.doing or LOADING
        ready = f"ready · {described(self.info)} · context {self.info.context:,}"
        return f"{ready} · {visible_line(self.info.why)}" if self.info.why else ready

    def switched(self, wanted: ModelRef) -> ModelState:
        """Another model is wanted, or this one once more."""
        if self.info is None:
            return replace(self, wanted=wanted, doing="", share=None, error=None)
        return ModelState(wanted, before=self.wanted)

    def progressed(self, event: ModelLoadProgressed) -> ModelState:
        """It is further."""
        share = event.done / event.total if event.done and event.total else None
        part = "" if share is None else f" {share:.0%}"
        doing = f"{visible_line(event.what)}{part}"
        return replace(self, info=None, error=None, doing=doing, share=share)

    def loaded(
        self,
        info: EngineInfo,
        capabilities: Capabilities,
        against: EngineInfo | None = None,
    ) -> ModelState:
        """It is there."""
        return replace(
            self,
            info=info,
            against=against,
            capabilities=capabilities,
            doing="",
            share=None,
            error=None,
        )

    def failed(self, error: LmtuiError) -> ModelState:
        """It can't be had."""
        return replace(self, info=None, doing="", share=None, error=error)


def shown_label(label: str) -> str:
    """The label of a model, short and safe to draw."""
    return visible_line(short_label(label))


def shown_name(wanted: ModelRef) -> str:
    """The name of a model and its adapter, short and safe to draw."""
    return shown_label(full_name(wanted))


def full_name(wanted: ModelRef) -> str:
    """The same with the whole path, where it is one."""
    model = catalogue.DEFAULT if wanted.model in (None, DEFAULT) else wanted.model
    if wanted.adapter is None:
        return model or ""
    if wanted.model is None:
        return f"adapter {wanted.adapter}"
    return f"{model} + {wanted.adapter}"


def described(info: EngineInfo) -> str:
    """How a model is computed."""
    return f"{info.precision} {info.dtype} · {info.device}"

"""The state of the model in the app, and its description for the screens.

Knows no screen and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lmtui.engine.types import UNKNOWN, Capabilities, EngineInfo, Need
from lmtui.errors import LmtuiError
from lmtui.models import catalogue
from lmtui.models.progress import Progress
from lmtui.models.source import ModelRef, short_label
from lmtui.text import visible_line

DEFAULT = "default"
LOADING = "loading the model"


@dataclass(frozen=True, slots=True)
class ModelState:
    """Model that is wanted, and the state of loading it; immutable."""

    model_ref: ModelRef = field(default_factory=ModelRef)
    info: EngineInfo | None = None
    """The loaded model; None while it loads or if it failed."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    against: EngineInfo | None = None
    """The model that it is compared with, if any."""
    stage: str = ""
    """Current stage of loading, with its percentage."""
    share: float | None = None
    """Share of the stage that is done, from 0 to 1, if known."""
    error: LmtuiError | None = None
    before: ModelRef | None = None
    """Model that was in use before, if any."""
    better_than_default: str = ""
    """A sentence that leads from the default model to a better one."""

    @property
    def name(self) -> str:
        if self.info is not None and self.info.adapter:
            return shown_label(self.info.label)  # includes the adapter's base model
        return shown_name(self.model_ref)

    @property
    def in_use(self) -> ModelRef | None:
        """Loaded model, by the names under which it was loaded, or None."""
        return ModelRef(self.info.model, self.info.adapter) if self.info else None

    @property
    def loading(self) -> bool:
        return self.info is None and self.error is None

    @property
    def is_rough(self) -> bool:
        """Whether its numbers differ a little each time: those of fast weights."""
        return self.info is not None and self.info.precision == "fast"

    @property
    def goes_back_to(self) -> ModelRef | None:
        """Model that was in use before the one that is being loaded."""
        is_other = self.before != self.model_ref
        return self.before if self.loading and is_other else None

    @property
    def words(self) -> str:
        if self.error:
            return self.error.title
        if self.info is None:
            return self.stage or LOADING
        ready = f"ready · {described(self.info)}"
        if self.info.context:
            ready += f" · context {self.info.context:,}"
        return f"{ready} · {self.info.why}" if self.info.why else ready

    @property
    def better(self) -> str:
        """The sentence on a better model, while the default one is in use; else
        empty."""
        if self.info is None or self.name != catalogue.DEFAULT:
            return ""
        return self.better_than_default

    def usable_with(self, need: Need) -> ModelState:
        """Return the state for a screen with this need: one without a model, where this
        one is of no use for it."""
        if self.info is None or self.capabilities.meets(need):
            return self
        why = self.capabilities.why_not.removesuffix(".")
        return replace(self, info=None, error=LmtuiError(why))

    def switched(self, ref: ModelRef) -> ModelState:
        if self.info is None:
            return self._with(model_ref=ref)
        better = self.better_than_default
        return ModelState(ref, before=self.model_ref, better_than_default=better)

    def progressed(self, progress: Progress) -> ModelState:
        share = (
            progress.done / progress.total if progress.done and progress.total else None
        )
        part = "" if share is None else f" {share:.0%}"
        stage = f"{progress.what}{part}"
        return self._with(stage=stage, share=share)

    def why_not(self, can: bool, what: str) -> str:
        """Return the sentence why something is not possible; empty where it is. `can`
        says whether the model's engine supports it."""
        if self.info is None:
            return f"No model is loaded yet: {self.words}."
        return "" if can else f"{what} can't be found here. {self.capabilities.why_not}"

    def loaded(
        self,
        info: EngineInfo,
        capabilities: Capabilities,
        against: EngineInfo | None = None,
    ) -> ModelState:
        return self._with(info=info, against=against, capabilities=capabilities)

    def failed(self, error: LmtuiError) -> ModelState:
        return self._with(error=error)

    def _with(self, **changes: Any) -> ModelState:
        """Return a state of which nothing but `changes` is known of the loading."""
        known = {"info": None, "error": None, "stage": "", "share": None}
        return replace(self, **{**known, **changes})


def shown_label(label: str) -> str:
    """Return the short label of a model, safe to draw."""
    return visible_line(short_label(label))


def shown_name(ref: ModelRef) -> str:
    """Return the short name of a model and its adapter, safe to draw."""
    return shown_label(full_name(ref))


def full_name(ref: ModelRef) -> str:
    """Return the name of a model and its adapter, with the whole path if local."""
    model = catalogue.DEFAULT if ref.model in (None, DEFAULT) else ref.model
    if ref.adapter is None:
        return model or ""
    if ref.model is None:
        return f"adapter {ref.adapter}"
    return f"{model} + {ref.adapter}"


def described(info: EngineInfo) -> str:
    return f"{info.precision} {info.dtype} · {info.device}".replace(f" {UNKNOWN}", "")

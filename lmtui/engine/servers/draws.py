"""Backends whose servers draw the tokens, and what can be drawn with a backend.

Knows no decode loop.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from torch import Tensor

from lmtui.engine.backend import AnyBackend
from lmtui.engine.sampling.stages import STAGES, active_stages, come_in_order
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.servers.settings import require_applied, without_idle_stages
from lmtui.engine.text.thinking import opens
from lmtui.engine.types import Prompt
from lmtui.errors import LmtuiError
from lmtui.models.remote.dialects import DrawSettings


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """A token that a server has drawn."""

    id: int
    logprob: float
    """Natural log, full vocabulary, as in `Candidate`."""
    logits: Tensor
    """Logits [V] of the position it was drawn at."""


@runtime_checkable
class DrawingBackend(Protocol):
    """Backend whose server can draw the tokens of an answer, one after the other."""

    @property
    def order(self) -> Sequence[str]:
        """Order of its stages; empty where that is ours."""

    @property
    def takes(self) -> frozenset[str]:
        """Names of the sampling settings that it draws with."""

    def draw(self, ids: Sequence[int], settings: DrawSettings) -> Generator[DrawnToken]:
        """Yield the tokens after `ids` until the server ends the answer."""


def follows_grammar(backend: object, prompt: Prompt) -> bool:
    """Return whether a backend's server follows a grammar in drawing an answer. It
    begins with the first token that it draws, so that nothing may be thought or said
    before."""
    return (
        isinstance(backend, DrawingBackend)
        and "grammar" in backend.takes
        and not prompt.begun
        and not opens(prompt.text)
    )


def effective_settings(
    backend: AnyBackend, settings: SamplingSettings
) -> SamplingSettings:
    """Return the settings with which tokens are drawn: where a server that lists some
    draws, with its own order in place of the default one."""
    if backend.top_logprobs is None or not isinstance(backend, DrawingBackend):
        return settings
    settings = without_idle_stages(settings)
    order, active = tuple(backend.order or STAGES), active_stages(settings)
    if come_in_order(active, STAGES) and set(active) <= set(order):
        settings = replace(settings, sampler_order=order)
    return settings


def require_drawable(backend: AnyBackend, settings: SamplingSettings) -> None:
    """Refuse settings that a server that draws can't apply.

    Raises:
        LmtuiError: there is one.
    """
    if isinstance(backend, DrawingBackend):
        require_applied(settings, backend.takes, order=backend.order or STAGES)


def require_full_distribution(backend: AnyBackend, what: str) -> None:
    """Refuse what needs the probabilities of all tokens, where a server lists some.

    Raises:
        LmtuiError: it does.
    """
    if backend.top_logprobs is not None:
        raise LmtuiError(
            f"{what} can't be applied here",
            "the server tells the probabilities of some tokens only",
            "Use a model on this machine, or on an lmtui serve.",
        )

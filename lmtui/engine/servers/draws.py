"""Backends whose servers draw the tokens, and what can be drawn with a backend.

Knows no decode loop.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard, runtime_checkable

from torch import Tensor

from lmtui.engine.backend import AnyBackend
from lmtui.engine.sampling.listed_rows import ORDERS, other_stage
from lmtui.engine.sampling.stages import STAGES, active_stages, come_in_order
from lmtui.engine.servers.settings import require_applied, without_idle_stages
from lmtui.engine.text.thinking import opens
from lmtui.engine.types import Prompt, SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.models.remote.dialects import Order


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """A token that a server has drawn."""

    id: int
    logprob: float
    """Natural log, full vocabulary, as in `Candidate`."""
    logits: Tensor
    """Logits [V] of the position it was drawn at."""


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """What a server is told of a generation."""

    settings: SamplingSettings
    seed: int
    limit: int
    """Most tokens."""
    bias: Mapping[int, float]
    """Added to the logits of tokens; -inf for a ban."""


@runtime_checkable
class DrawingBackend(Protocol):
    """Backend whose server can draw the tokens of an answer, one after the other."""

    @property
    def draws(self) -> bool:
        """Whether it is to draw."""

    @property
    def order(self) -> Order:
        """Order of the filters that it draws with."""

    @property
    def takes(self) -> frozenset[str]:
        """Names of the sampling settings that it draws with."""

    def draw(self, ids: Sequence[int], options: DrawOptions) -> Generator[DrawnToken]:
        """Yield the tokens after `ids` until the server ends the answer."""


def server_samples(backend: object) -> TypeGuard[DrawingBackend]:
    return isinstance(backend, DrawingBackend) and backend.draws


def follows_grammar(backend: object, prompt: Prompt) -> bool:
    """Return whether a backend's server follows a grammar in drawing an answer. It
    begins with the first token that it draws, so that nothing may be thought or said
    before."""
    return (
        server_samples(backend)
        and "grammar" in backend.takes
        and not prompt.begun
        and not opens(prompt.text)
    )


def effective_settings(
    backend: AnyBackend, settings: SamplingSettings
) -> SamplingSettings:
    """Return the settings with which tokens are drawn: where a server that lists some
    draws, with its own order in place of the default one."""
    if backend.top_logprobs is None:
        return settings
    settings = without_idle_stages(settings)
    if server_samples(backend):
        order, active = ORDERS.get(backend.order, STAGES), active_stages(settings)
        if come_in_order(active, STAGES) and set(active) <= set(order):
            settings = replace(settings, sampler_order=order)
    return settings


def require_drawable(backend: AnyBackend, settings: SamplingSettings) -> None:
    """Refuse settings that a server that is to draw can't apply, or that can't be
    applied to what it lists.

    Raises:
        LmtuiError: there is one.
    """
    listed = backend.top_logprobs
    if server_samples(backend):
        order = ORDERS.get(backend.order, STAGES)
        other = "" if listed else " Or draw here: exact_drawing = true."
        require_applied(settings, backend.takes, order=order, otherwise=other)
    elif listed is not None and (stage := other_stage(settings)):
        raise LmtuiError(
            f"the sampler's stage {stage} can't be applied here",
            "the server tells the probabilities of some tokens only",
            "Switch it off, or let the server draw: exact_drawing = false.",
        )


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

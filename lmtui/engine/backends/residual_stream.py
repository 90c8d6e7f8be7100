"""The states that pass from layer to layer in a transformers model, and how the last of
them comes to the head.

No name of a module is relied on: both are observed in a forward pass. Knows no
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_MANY_STATES = "the layers pass on more than one state for each token"


class ResidualStream:
    """The residual stream of one model: what enters each layer, and what the last one
    returns."""

    def __init__(
        self, model: nn.Module, layers: Sequence[nn.Module], run: Callable[[], Tensor]
    ) -> None:
        """Observe a model with these layers while `run` makes a pass over a few tokens
        and returns the head's input [n, width].

        Raises:
            ValueError: the layers pass on something else than one state for each token,
                or it is not seen how the last one comes to the head; the message is a
                reason in words.
        """
        if not layers:
            raise ValueError("the layers can't be told apart")
        self._layers = layers
        self.norm: tuple[nn.Module, ...] = ()
        """What follows the last layer, before the head: the final norm, or a norm and a
        projection, or nothing."""
        calls: list[tuple[nn.Module, Any, Any]] = []
        left: list[Tensor] = []

        def leave(_: nn.Module, __: object, output: Any) -> None:
            left.append(_state_in(output))

        def note(module: nn.Module, taken: tuple[Any, ...], made: Any) -> None:
            if left and taken:
                calls.append((module, taken[0], made))

        with ExitStack() as hooks:
            hooks.enter_context(layers[-1].register_forward_hook(leave))
            for module in _sibling_modules(model, layers[0]):
                hooks.enter_context(module.register_forward_hook(note))
            last = run()
        if len(left) != 1:
            raise ValueError(_MANY_STATES)
        self._device = last.device
        self.norm = _modules_to_head(calls, left[0], last)
        with self.recorded(len(last)) as entered:
            run()
        if [states.shape for states in entered] != [last.shape] * len(layers):
            raise ValueError(_MANY_STATES)

    @contextmanager
    def recorded(self, rows: int) -> Iterator[list[Tensor]]:
        """Collect what enters each layer during a pass over one text, as inputs of the
        head: the states [rows, width] of its last `rows` tokens.

        Raises:
            ValueError: a layer takes something else than one state for each token.
        """
        entered: list[Tensor] = []

        def enter(_: nn.Module, values: tuple[Any, ...], named: dict[str, Any]) -> None:
            state = _state_in(values or named.get("hidden_states"))
            state = state[:, -rows:].to(self._device)
            for module in self.norm:
                state = module(state)
            entered.append(state[0].clone())  # the other rows need not stay in memory

        with ExitStack() as hooks:
            for layer in self._layers:
                hook = layer.register_forward_pre_hook(enter, with_kwargs=True)
                hooks.enter_context(hook)
            yield entered


def _state_in(values: Any) -> Tensor:
    """Return the states [1, n, width] that a layer takes or returns."""
    state = values[0] if isinstance(values, tuple) else values
    if not isinstance(state, Tensor) or state.dim() != 3 or len(state) != 1:
        raise ValueError(_MANY_STATES)
    return state


def _sibling_modules(model: nn.Module, layer: nn.Module) -> list[nn.Module]:
    """Return the modules beside the list of layers that begins with `layer`."""
    for owner in model.modules():
        children = list(owner.children())
        lists = [child for child in children if isinstance(child, nn.ModuleList)]
        if any(len(modules) and modules[0] is layer for modules in lists):
            return [child for child in children if child not in lists]
    return []


def _modules_to_head(
    calls: Sequence[tuple[nn.Module, Any, Any]], first: Tensor, last: Tensor
) -> tuple[nn.Module, ...]:
    """Return the modules that lead from the last layer's output [1, n, width] to the
    head's input [n, width], given all calls after that layer: module, input, output."""
    path, state = [], first
    for module, taken, made in calls:
        if _is_same(state[0], last):
            break
        if isinstance(made, Tensor) and _is_same(taken, state):
            path.append(module)
            state = made
    if _is_same(state[0], last):
        return tuple(path)
    raise ValueError("the final norm can't be found")


def _is_same(one: Any, other: Tensor) -> bool:
    return (
        isinstance(one, Tensor) and one.shape == other.shape and torch.equal(one, other)
    )

"""The states that pass from layer to layer in a transformers model, and how the last of
them comes to the head.

No name of a module is relied on: both are observed in a forward pass. Knows no
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class ResidualStream:
    """The residual stream of one model: what enters each layer."""

    layers: tuple[nn.Module, ...]
    norm: tuple[nn.Module, ...]
    """What follows the last layer, before the head: the final norm, none, or a norm
    and a projection."""

    @classmethod
    def of(
        cls, model: nn.Module, layers: Sequence[nn.Module], run: Callable[[], Tensor]
    ) -> ResidualStream:
        """Return the stream of a model with these layers, observed while `run` makes a
        pass over a few tokens and returns the head's input [n, width].

        Raises:
            ValueError: the layers pass on something else than one state for each token,
                or it is not seen how the last one comes to the head; the message is a
                reason in words.
        """
        if not layers:
            raise ValueError("its layers can't be told apart")
        calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        left: list[Tensor] = []

        def leave(_: nn.Module, __: object, output: Any) -> None:
            left.append(_first_tensor(output))

        def note(module: nn.Module, taken: tuple[Any, ...], made: Any) -> None:
            if left and taken and isinstance(made, Tensor):
                calls.append((module, taken[0], made))

        stream = cls(tuple(layers), ())
        with ExitStack() as hooks, stream.recorded() as entered:
            hooks.enter_context(_removed(layers[-1].register_forward_hook(leave)))
            for module in _neighbours(model, layers[0]):
                hooks.enter_context(_removed(module.register_forward_hook(note)))
            last = run()
        sizes = {each.shape for each in entered}
        if len(entered) != len(layers) or len(left) != 1 or len(sizes) != 1:
            raise ValueError("its layers pass on more than one state for each token")
        return cls(tuple(layers), _path(calls, left[0], last))

    @contextmanager
    def recorded(self, rows: int = 0) -> Iterator[list[Tensor]]:
        """Collect what enters each layer during a pass over one text: the states [rows,
        width] of its last `rows` tokens, or of all."""
        entered: list[Tensor] = []

        def enter(_: nn.Module, values: tuple[Any, ...], named: dict[str, Any]) -> None:
            # Only the rows that are needed stay in memory.
            states = values[0] if values else named["hidden_states"]
            entered.append(states[0, -rows:].clone())

        with ExitStack() as hooks:
            for layer in self.layers:
                hook = layer.register_forward_pre_hook(enter, with_kwargs=True)
                hooks.enter_context(_removed(hook))
            yield entered

    @torch.inference_mode()
    def normed(self, states: Sequence[Tensor], like: Tensor) -> Tensor:
        """Return the states [n, width] of several layers as inputs of the head, on the
        device of `like`: [layers, n, width]."""
        made = torch.stack([each.to(like.device) for each in states])
        for module in self.norm:
            made = module(made)
        return made


@contextmanager
def _removed(hook: Any) -> Iterator[None]:
    try:
        yield
    finally:
        hook.remove()


def _first_tensor(output: Any) -> Tensor:
    state = output[0] if isinstance(output, tuple) else output
    if not isinstance(state, Tensor) or state.dim() != 3 or len(state) != 1:
        raise ValueError("its layers pass on more than one state for each token")
    return state


def _neighbours(model: nn.Module, layer: nn.Module) -> list[nn.Module]:
    """Return the modules beside the list of layers that begins with `layer`."""
    for owner in model.modules():
        children = list(owner.children())
        lists = [each for each in children if isinstance(each, nn.ModuleList)]
        if any(len(each) and each[0] is layer for each in lists):
            return [each for each in children if each not in lists]
    return []


def _path(
    calls: Sequence[tuple[nn.Module, Tensor, Tensor]], first: Tensor, last: Tensor
) -> tuple[nn.Module, ...]:
    """Return the modules that lead from the last layer's output [1, n, width] to the
    head's input [n, width], given all calls after that layer: module, input, output."""
    path, state = [], first
    for module, taken, made in calls:
        if _is_same(state[0], last):
            break
        if _is_same(taken, state):
            path.append(module)
            state = made
    if _is_same(state[0], last):
        return tuple(path)
    raise ValueError("its final norm can't be found")


def _is_same(one: Any, other: Tensor) -> bool:
    return (
        isinstance(one, Tensor) and one.shape == other.shape and torch.equal(one, other)
    )

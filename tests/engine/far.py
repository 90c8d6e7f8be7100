"""A device that is not there: it computes on the CPU, and counts what makes it wait.

Tensors on it can't be mixed with others, as on a GPU, and to learn anything of their
values is to wait for all that was asked of it before. What would be missed only where
there is a GPU shows up here: that, and a tensor that was made in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map, tree_map_only

from lmtui.engine.backends.transformers import TransformersBackend

_DEVICE = torch.device("meta")  # a name that no test has another use for
_LOOKS = {"item", "is_nonzero", "_local_scalar_dense", "nonzero", "masked_select"}
_MOVES = {"to", "_to_copy"}
_PASSES = {
    "logits",
    "next_logits",
    "hidden_states",
    "hidden_states_after",
    "hidden_states_tree",
    "head",
}


class Far(Tensor):
    """A tensor on the device."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        made: Far = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            near.shape,
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=_DEVICE,
        )
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Only where no device is watched."""
        raise RuntimeError(f"{func} outside of `watched`")


class Device(TorchDispatchMode):
    """Does what is asked of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """What was done that waits for it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and say where its results are."""
        kwargs = dict(kwargs or {})
        given = [each for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)]
        far = any(isinstance(each, Far) for each in given)
        name = func.overloadpacket.__name__
        goes = kwargs.get("device")
        makes = goes == _DEVICE
        if makes:
            kwargs["device"] = torch.device("cpu")
        if not far and not makes:
            return func(*args, **kwargs)
        if name in _MOVES:
            return self._moved(func, args, kwargs, far=makes or (far and goes is None))
        self._look(func, name, given, args)
        out = func(*_near(args), **_near(kwargs))
        _as_numpy_does(name, given, out)
        known = {id(each.near): each for each in given if isinstance(each, Far)}

        def far_of(tensor: Tensor) -> Tensor:
            again = known.get(id(tensor))  # what was written into is itself
            return Far(tensor) if again is None else again

        return tree_map_only(Tensor, far_of, out)

    def _moved(self, func: Any, args: Any, kwargs: Any, *, far: bool) -> Any:
        came = isinstance(args[0], Far)
        if came != far and not (far and kwargs.get("non_blocking")):
            self.waits.append("a copy")
        out = func(*_near(args), **_near(kwargs))
        return Far(out) if far else out

    def _look(self, func: Any, name: str, given: list[Tensor], args: Any) -> None:
        masks = name.startswith("index") and any(
            each.dtype in (torch.bool, torch.uint8)
            for each in tree_iter(args[1])
            if isinstance(each, Tensor)
        )
        if name in _LOOKS or masks:
            self.waits.append(name)
        near = [t for t in given if not isinstance(t, Far) and t.dim() > 0]
        if near:
            raise RuntimeError(f"{func} of tensors in two places")


def _as_numpy_does(name: str, given: list[Tensor], out: Any) -> None:
    """Replace exponentials and sums in float64 by NumPy's, which the CPU's own rows are
    computed with: only the last bits differ, and all else is to be the same."""
    if name == "exp" and out.dtype is torch.float32:
        out.copy_(torch.from_numpy(np.exp(_near(given[0]).numpy())))
    if name == "sum" and out.dtype is torch.float64:
        rows = _near(given[0])
        if rows.dtype is torch.float32:
            sums = np.add.reduce(rows.numpy(), -1, dtype=np.float64)
            out.copy_(torch.from_numpy(np.asarray(sums)))


def _near(tree: Any) -> Any:
    return tree_map(lambda t: t.near if isinstance(t, Far) else t, tree)


@contextmanager
def watched() -> Iterator[Device]:
    """The device, while something is asked of it."""
    with Device() as device:
        yield device


class FarForward(TransformersBackend):
    """A model whose logits and states stay on the device."""

    def __getattribute__(self, name: str) -> Any:
        run = super().__getattribute__(name)
        if name not in _PASSES:
            return run
        return lambda *given, **how: Far(_apart(run, *given, **how))


def _apart(do: Any, *given: Any, **how: Any) -> Any:
    """What the model itself does is not watched."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        return _near(do(*_near(given), **how))

"""A GPU that is not there: it computes on the CPU, and counts what makes the host wait.

Tensors on it can't be mixed with others, as on a GPU, and to learn anything of their
values is to wait for all that was asked of it before. What would be missed only where
there is a GPU shows up here: that, a tensor that was made in the wrong place, and a
recorded step that depends on more than memory. The numbers are real ones.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from lmtui.engine.engine import LocalEngine
from lmtui.models import accelerator
from lmtui.models.accelerator import Outputs
from lmtui.models.loaded_model import LoadedModel
from tests.engine import tiny

GPU = torch.device("cuda", 0)
"""What the program sees; `watched` may name another."""
_META = torch.device("meta", 7)
"""What torch itself sees: a device that it lets anyone put tensors on, by a number that
nobody else gives it."""
_LOOKS = {"item", "is_nonzero", "_local_scalar_dense", "nonzero", "masked_select"}


class GpuTensor(Tensor):
    """A tensor on the GPU."""

    host: Tensor
    """Its numbers, on the CPU."""

    @staticmethod
    def __new__(cls, host: Tensor) -> GpuTensor:
        # A view of what was made outside of inference mode has to be like its base.
        with torch.inference_mode(False):
            made: GpuTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls,
                host.shape,
                strides=host.stride(),
                storage_offset=host.storage_offset(),
                dtype=host.dtype,
                device=_META,
            )
        made.host = host
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return GPU.type == "cuda"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Only where the GPU is watched."""
        raise RuntimeError(f"{func} outside of `watched`")


class _Names(TorchFunctionMode):
    """Names the GPU to torch as torch knows it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        args, kwargs = _mapped((tuple(args), kwargs or {}), _as_meta)
        goes = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and goes == _META:
            del kwargs["device"]
            return func(*args, **kwargs).to(_META)
        if func in (Tensor.__getitem__, Tensor.__setitem__):  # lists lose their numbers
            args = args[0], _indexes(args[1]), *args[2:]
        return func(*args, **kwargs)


def _indexes(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_indexes, index))
    return torch.tensor(list(index)) if isinstance(index, list | range) else index


def _as_meta(value: Any) -> Any:
    is_name = isinstance(value, str) and value.partition(":")[0] == GPU.type
    if is_name or (isinstance(value, torch.device) and value.type == GPU.type):
        return _META
    return value


class Gpu(TorchDispatchMode):
    """Does what is asked of the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        """What was done that waits for it, and where."""
        self.launches = 0
        """Operations that it was asked for, each by itself."""
        self.sync_debug_mode = "default"
        self.recording: list[Callable[[], None]] | None = None
        """What replays each operation since a recording began; None without one."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and say where its results are."""
        kwargs = dict(kwargs or {})
        if _is_composite(
            func
        ):  # in inference mode, operations come as they were called
            with self:
                return func.decompose(*args, **kwargs)
        given = _tensors((args, kwargs))
        on_gpu = any(isinstance(each, GpuTensor) for each in given)
        to_gpu = kwargs.get("device", _META if on_gpu else None) == _META
        if not on_gpu and not to_gpu:
            return func(*args, **kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            self._copy(name, args, kwargs, to_gpu)
        else:
            self._look(func, name, given, args)
        out = self._run(func, args, kwargs)
        return out if not to_gpu else self._placed(given, out)

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = _host(args), _host(kwargs)
        out = func(*args, **kwargs)
        self.launches += not func.is_view
        if self.recording is not None:
            written = _tensors(out)

            def replay() -> None:
                again = func(*args, **kwargs)
                for old, new in zip(written, _tensors(again), strict=True):
                    if _address(old) != _address(new):
                        old.copy_(new)

            self.recording.append(replay)
        return out

    def _placed(self, given: Sequence[Tensor], out: Any) -> Any:
        known = {id(each.host): each for each in given if isinstance(each, GpuTensor)}

        def placed(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if GPU.type == "mps" and value.dtype is torch.float64:
                raise TypeError("the MPS framework doesn't support float64")
            again = known.get(id(value))  # what was written into is itself
            return GpuTensor(value) if again is None else again

        return _mapped(out, placed)

    def _copy(self, name: str, args: Any, kwargs: Any, to_gpu: bool) -> None:
        target, source = (args[0], args[1]) if name == "copy_" else (None, args[0])
        if target is not None:
            to_gpu = isinstance(target, GpuTensor)
        late = kwargs.get("non_blocking") or (
            name == "copy_" and len(args) > 2 and args[2]
        )
        if isinstance(source, GpuTensor) != to_gpu and not (to_gpu and late):
            self._wait("a copy")

    def _look(self, func: Any, name: str, given: list[Tensor], args: Any) -> None:
        masks = name.startswith("index") and any(
            each.dtype in (torch.bool, torch.uint8) for each in _tensors(args[1])
        )
        if name in _LOOKS or masks:
            self._wait(name)
        if any(not isinstance(t, GpuTensor) and t.dim() > 0 for t in given):
            if not name.startswith("index"):
                raise RuntimeError(f"{func} of tensors in two places")
            self._wait("a copy of an index")

    def _wait(self, what: str) -> None:
        if self.recording is not None:
            raise RuntimeError(f"{what} while a step is recorded")
        frame = sys._getframe()
        while "/lmtui/" not in frame.f_code.co_filename and frame.f_back:
            frame = frame.f_back
        where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self.waits.append(f"{what}, {where}")
        if self.sync_debug_mode == "warn":
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)

    def recorded(
        self,
        device: torch.device,
        run: Callable[[], Outputs],
        undo: Callable[[], object],
    ) -> tuple[Outputs, Callable[[], object]]:
        """As `accelerator.recorded`: what is replayed is what was asked of the GPU,
        not the Python that asked for it."""
        self.recording = steps = list[Callable[[], None]]()
        try:
            outputs = run()
        finally:
            self.recording = None
        undo()

        def replay() -> None:
            for step in steps:
                step()

        return outputs, replay


def _host(tree: Any) -> Any:
    return _mapped(tree, lambda t: t.host if isinstance(t, GpuTensor) else t)


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """What torch calls a tree_map, ten times as quick."""
    if isinstance(tree, tuple | list):
        return type(tree)([_mapped(part, change) for part in tree])
    if isinstance(tree, dict):
        return {name: _mapped(part, change) for name, part in tree.items()}
    return change(tree)


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _mapped(tree, lambda each: found.append(each) if isinstance(each, Tensor) else None)
    return found


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@cache
def _is_composite(func: Any) -> bool:
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(func.has_kernel_for_dispatch_key(key))


@contextmanager
def watched(kind: str = "cuda") -> Iterator[Gpu]:
    """The GPU, while something is asked of it: one of NVIDIA, `mps` or `xpu`."""
    gpu = Gpu()
    with pytest.MonkeyPatch.context() as patch, _Names(), gpu:
        patch.setattr(sys.modules[__name__], "GPU", torch.device(kind, 0))
        patch.setattr(accelerator, "names", lambda: (kind,))
        patch.setattr(accelerator, "free_memory", lambda device: 8 << 30)
        patch.setattr(accelerator, "total_memory", lambda device: 8 << 30)
        patch.setattr(accelerator, "used_memory", lambda device: 1 << 20)
        patch.setattr(accelerator, "described", "{} (Example GPU)".format)
        patch.setattr(accelerator, "computes_in_bfloat16", lambda device: True)
        patch.setattr(accelerator, "fork_rng", lambda device: torch.random.fork_rng([]))
        patch.setattr(accelerator, "recorded", gpu.recorded)
        yield gpu


def loaded(family: str = "llama", dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A tiny model on the GPU, as the loader would return it."""
    model = copy.deepcopy(tiny.model(family)).to(dtype)
    for module in model.modules():
        for name, weight in list(module._parameters.items()):
            if weight is not None:
                there = nn.Parameter(GpuTensor(weight.data), requires_grad=False)
                module._parameters[name] = there
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = GpuTensor(buffer)
    return replace(tiny.loaded(family), model=model, device=GPU, dtype=dtype)


def engine(family: str = "llama", dtype: torch.dtype = torch.float32) -> LocalEngine:
    """An engine around it."""
    return LocalEngine(loaded(family, dtype))

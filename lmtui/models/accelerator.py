"""The accelerator of this machine as torch knows it: a GPU of NVIDIA, Apple or Intel.

Whatever is asked of one stands here, so that a test can put another in its place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

_WARM_UP = 3  # runs before a recording, in which libraries choose their kernels


def names() -> tuple[str, ...]:
    """Return the names of the accelerators that torch can use here, the preferred one
    first; none on a machine without."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return ()
    count = torch.accelerator.device_count()
    each = (f"{found.type}:{i}" for i in range(count) if count > 1)
    return (found.type, *each)


def described(device: torch.device) -> str:
    """Return a device by its name, with its maker's in parentheses where there is
    one."""
    if device.type not in ("cuda", "xpu"):
        return str(device)
    return f"{device} ({_module(device).get_device_name(device)})"


def free_memory(device: torch.device) -> int | None:
    """Return the bytes of its own memory that are free; None where it shares the
    machine's."""
    if device.type not in ("cuda", "xpu"):
        return None
    return int(_module(device).mem_get_info(device)[0])


def total_memory(device: torch.device) -> int | None:
    """Return the bytes of its own memory; None where it shares the machine's."""
    if device.type not in ("cuda", "xpu"):
        return None
    return int(_module(device).mem_get_info(device)[1])


def used_memory(device: torch.device) -> int | None:
    """Return the bytes of its own memory that this process's tensors take; None where
    it shares the machine's."""
    if device.type not in ("cuda", "xpu"):
        return None
    return int(_module(device).memory_allocated(device))


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device of NVIDIA multiplies matrices in bfloat16 without
    emulation."""
    if device.type != "cuda":
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def fork_rng(device: torch.device) -> AbstractContextManager[None]:
    """Restore the random generators of the CPU and of a device at the end."""
    if device.type not in ("cuda", "xpu"):
        return torch.random.fork_rng([])
    return torch.random.fork_rng([device], device_type=device.type)


Outputs = tuple[Tensor, ...]


def recorded(
    device: torch.device, run: Callable[[], Outputs], undo: Callable[[], object]
) -> tuple[Outputs, Callable[[], object]]:
    """Record what `run` asks of a CUDA device, as a CUDA graph.

    `undo` takes back what `run` changes. Return the outputs, and what replays the
    recording: it runs on the memory that `run` has read and writes the same outputs.

    Raises:
        RuntimeError: `run` does something that can't be recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):  # streams belong to the current device
        here = torch.cuda.current_stream()
        aside: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            # 1) warm-up: a library's choice of kernels can't be recorded
            for _ in range(_WARM_UP):
                run()
                undo()
            # 2) check that no operation waits for the GPU
            with _error_on_sync():
                run()
            undo()
        here.wait_stream(aside)
        # 3) record; the outer context restores the stream if that fails
        with torch.cuda.stream(here), torch.cuda.graph(graph, stream=aside):
            outputs = run()
    return outputs, graph.replay


@contextmanager
def _error_on_sync() -> Iterator[None]:
    """Raise a RuntimeError for an operation that waits for the GPU and so would
    make a recording fail. A failed recording leaves torch's allocator in an
    undefined state."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _module(device: torch.device) -> Any:
    return torch.get_device_module(device)

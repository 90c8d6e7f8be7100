"""Processors, memory and devices of this machine; choice of device, dtype and threads.

Torch takes seconds to import, which `--help` must not, so that functions import it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lmtui import processes
from lmtui.errors import LmtuiError, SystemLimitError
from lmtui.kernels import cpu_features

if TYPE_CHECKING:
    import torch

Precision = Literal["exact", "fast", "remote"]
DTYPES = ("float32", "bfloat16", "float16")

_STORED = {"F32": "float32", "F64": "float32", "F16": "float16", "BF16": "bfloat16"}
_CGROUP = Path("/sys/fs/cgroup")
_MEMORY_FILES = (
    ("", "memory.max", "memory.current"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where the control groups are, and their limit and use of memory: version 2 and 1."""
# CPU flags for bfloat16 multiplication, as Linux names them on x86 and on ARM.
_HALF_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})


def default_threads() -> int:
    """Return the number of physical cores that this process may use; at least 1.

    A second thread on the same core slows matrix products down.
    """
    import psutil  # imported here: it takes milliseconds

    usable = processes.usable_processors()
    return min(psutil.cpu_count(logical=False) or usable, usable)


def require_threads(count: int) -> None:
    """Refuse a number of threads that does not fit this machine. Far more than it has
    end the process, or leave no thread to any other program.

    Raises:
        LmtuiError: it is out of range.
        SystemLimitError: the system does not start so many now. OpenMP would end the
            process.
    """
    most = 2 * processes.usable_processors()
    if not 1 <= count <= most:
        title, hint = "threads is out of range", f"Give a value from 1 to {most}."
        raise LmtuiError(title, str(count), hint)
    over = threading.Event()
    try:
        for _ in range(count):
            threading.Thread(target=over.wait, daemon=True).start()
    except RuntimeError as error:
        raise SystemLimitError(str(error)) from error
    finally:
        over.set()


def load_torch_libraries() -> None:
    """Load torch's shared libraries without holding the interpreter's lock, so that a
    screen draws meanwhile: `import torch` holds it for most of a second. Where they
    can't be loaded, the import does it and reports why."""
    spec = importlib.util.find_spec("torch")
    if "torch" in sys.modules or spec is None or spec.origin is None:
        return
    ending = "dylib" if sys.platform == "darwin" else "so"
    library = Path(spec.origin).with_name("lib") / f"libtorch_python.{ending}"
    # Called as a foreign function, it releases the lock; ctypes.CDLL(library) does not.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    dlopen(os.fsencode(library), os.RTLD_NOW)


def available_ram() -> int:
    """Return the bytes of memory that this process can still take without swapping."""
    import psutil

    free = psutil.virtual_memory().available
    return max(0, min([free, *(left for _, left in _memory_limits())]))


def total_ram() -> int:
    """Return the bytes of memory that this machine has, or that this process's control
    groups allow."""
    import psutil

    whole = psutil.virtual_memory().total
    return min([whole, *(limit for limit, _ in _memory_limits())])


def gpu_memory() -> int | None:
    """Return the bytes of the memory of the GPU that is preferred here; None without
    one, and before torch, which knows it, is imported."""
    if "torch" not in sys.modules:
        return None
    from lmtui.models import accelerator

    return accelerator.total_memory(choose_device())


def available_memory(device: torch.device) -> int:
    """Return the bytes free for weights on `device`, which may share the machine's
    memory."""
    from lmtui.models import accelerator

    free = accelerator.free_memory(device)
    return available_ram() if free is None else free


def devices() -> tuple[str, ...]:
    """Return the devices that torch can use here, the preferred one first."""
    from lmtui.models import accelerator

    return (*accelerator.names(), "cpu")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`, or the best one for `auto`."""
    import torch

    present = devices()
    if name == "auto":
        return torch.device(present[0])
    kind, _, index = name.partition(":")
    if name in present or (index == "0" and kind in present[:-1]):
        return torch.device(name)
    known = kind in ("cuda", "mps", "xpu")
    title = "this device is not on this machine" if known else "unknown device"
    raise LmtuiError(title, name, f"Give one of: {', '.join(('auto', *present))}.")


def choose_dtype(name: str, device: torch.device, stored: str) -> torch.dtype:
    """Return the dtype to compute in: float32 on a CPU, the model's own on a GPU that
    has it. `stored` is the dtype of the weights, as safetensors and GGUF call it. A GPU
    without bfloat16 (compute capability below 8) emulates it slowly, or has no kernel;
    float16 instead would overflow in some models, so that it has to be asked for."""
    import torch

    if name == "auto":
        name = "float32" if device.type == "cpu" else _STORED.get(stored, "float32")
        if (
            name == "bfloat16"
            and device.type == "cuda"
            and not fast_at_bfloat16(device)
        ):
            name = "float32"
    if name not in DTYPES:
        options = ", ".join(("auto", *DTYPES))
        raise LmtuiError("unknown dtype", name, f"Give one of: {options}.")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def precision_of(dtype: torch.dtype, device: torch.device, stored: str) -> Precision:
    """Return `exact` for float32, and on a GPU for the model's own dtype; else
    `fast`."""
    name = str(dtype).removeprefix("torch.")
    own = device.type != "cpu" and name == _STORED.get(stored)
    return "exact" if name == "float32" or own else "fast"


def fast_at_bfloat16(device: torch.device) -> bool:
    """Return whether `device` multiplies matrices faster in bfloat16 than in
    float32."""
    import torch

    from lmtui.models import accelerator

    if device.type != "cpu":
        return accelerator.computes_in_bfloat16(device)
    library: Any = torch.backends.mkldnn
    if not library.is_available():
        return False
    return any(cpu_features.has_features(flag) for flag in _HALF_FLAGS)


def _number(file: Path) -> int | None:
    """Return the number in a control file; None for `max`, anything else, or no
    file."""
    try:
        return int(file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _cgroups() -> list[Path]:
    """Return this process's own control groups and the root: either can have limits."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = [line.split(":", 2)[2].lstrip("/") for line in lines if line.count(":") > 1]
    return [Path(name) for name in dict.fromkeys([*own, ""])]


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Yield the limits of the control groups, of either version, in bytes, and what is
    left of each."""
    for folder, limit_name, used_name in _MEMORY_FILES:
        for group in _cgroups():
            files = _CGROUP / folder / group
            limit, used = _number(files / limit_name), _number(files / used_name)
            if limit is not None and used is not None:
                yield limit, limit - used + _inactive(files / "memory.stat")


def _inactive(stat: Path) -> int:
    """Return the bytes of file pages that the kernel frees when memory is needed."""
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0
    pages = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(pages.get("total_inactive_file", pages.get("inactive_file", "0")))

"""Devices, number formats, memory: what is chosen and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lmtui import cache_dir, processes
from lmtui.errors import LmtuiError, SystemLimitError
from lmtui.kernels import cpu_features
from lmtui.models import hardware, memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "device", "stored", "dtype", "precision"),
    [
        ("auto", CPU, "BF16", torch.float32, "exact"),
        ("bfloat16", CPU, "BF16", torch.bfloat16, "fast"),
        ("auto", CUDA, "BF16", torch.bfloat16, "exact"),
        ("auto", CUDA, "F16", torch.float16, "exact"),
        ("auto", CUDA, "I32", torch.float32, "exact"),
        ("float32", CUDA, "BF16", torch.float32, "exact"),
        ("bfloat16", CUDA, "F32", torch.bfloat16, "fast"),
    ],
)
def test_dtype_and_precision_follow_device_and_stored_format(
    name, device, stored, dtype, precision, monkeypatch
):
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: True)
    chosen = hardware.choose_dtype(name, device, stored)
    assert chosen == dtype
    assert hardware.precision_of(chosen, device, stored) == precision


def test_threads_that_the_system_does_not_start_are_an_error_of_its_own(monkeypatch):
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(SystemLimitError, match="no thread"):
        hardware.require_threads(1)


def test_a_gpu_without_bfloat16_computes_in_float32(monkeypatch):
    monkeypatch.setattr(hardware, "fast_at_bfloat16", lambda device: False)
    assert hardware.choose_dtype("auto", CUDA, "BF16") == torch.float32
    assert hardware.choose_dtype("auto", CUDA, "F16") == torch.float16
    assert hardware.choose_dtype("bfloat16", CUDA, "BF16") == torch.bfloat16


def test_auto_prefers_the_fastest_device(monkeypatch):
    monkeypatch.setattr(hardware, "devices", lambda: ("cuda", "cpu"))
    assert hardware.choose_device().type == "cuda"
    assert hardware.choose_device("cuda:0").type == "cuda"
    assert hardware.choose_device("cpu").type == "cpu"
    with pytest.raises(LmtuiError) as caught:
        hardware.choose_device("mps")
    assert caught.value.hint == "Give one of: auto, cuda, cpu."


def test_threads_are_physical_cores_within_affinity_and_quota(monkeypatch):
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda pid: set(range(6)), raising=False
    )
    monkeypatch.setattr(processes, "cpu_quota", lambda: None)
    assert hardware.default_threads() == 6
    monkeypatch.setattr(processes, "cpu_quota", lambda: 1.5)
    assert hardware.default_threads() == 2


WAITS = """
import threading, time
from lmtui.models.hardware import load_torch_libraries

over, turns = threading.Event(), 0

def run():
    global turns
    while not over.wait(0.001):
        turns += 1

thread = threading.Thread(target=run)
thread.start()
load_torch_libraries()
over.set()
thread.join()
import torch
print(turns, torch.ones(2).sum().item())
"""


def test_threads_run_while_the_libraries_of_torch_are_loaded():
    done = subprocess.run(
        [sys.executable, "-c", WAITS], capture_output=True, text=True, check=True
    )
    turns, total = done.stdout.split()
    assert int(turns) > 5  # at most one while the interpreter's lock is held
    assert total == "2.0"


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    monkeypatch.setattr(hardware, "_cgroups", lambda: [Path("job"), Path("")])
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_available_ram_respects_a_control_group_2(cgroup: Path):
    write(
        cgroup / "job",
        memory__max="1000",
        memory__current="700",
        memory__stat="inactive_file 200",
    )
    assert hardware.available_ram() == 500
    write(cgroup / "job", memory__max="max")
    assert hardware.available_ram() > 500


def test_available_ram_respects_a_control_group_1(cgroup: Path):
    write(
        cgroup / "memory",
        memory__limit_in_bytes="900",
        memory__usage_in_bytes="1000",
        memory__stat="x 1\ntotal_inactive_file 50",
    )
    assert hardware.available_ram() == 0


@pytest.mark.parametrize(
    ("file", "limit", "none"),
    [
        ("cpu.max", "150000 100000", "max 100000"),
        ("cpu/cpu.cfs_quota_us", "150000", "-1"),
    ],
)
def test_cpu_quota_is_read_from_the_control_group(
    file: str, limit: str, none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "_CGROUP", tmp_path)
    assert processes.cpu_quota() is None
    write(tmp_path / "cpu", **{"cpu__cfs_period_us": "100000"})
    (tmp_path / file).write_text(limit)
    assert processes.cpu_quota() == 1.5
    (tmp_path / file).write_text(none)
    assert processes.cpu_quota() is None


def test_model_that_does_not_fit_the_memory_is_refused():
    memory.require_memory(135_000_000, "float32", 2_000_000_000, where="cpu")
    with pytest.raises(LmtuiError) as caught:
        memory.require_memory(4_000_000_000, "float32", 10_000_000_000, where="cpu")
    error = caught.value
    assert "17.9 GB are needed in float32" in error.detail
    assert "10.0 GB are free on cpu" in error.detail
    assert error.hint.startswith(
        "Use --dtype bfloat16, or use a smaller model (--model "
    )


def test_sizes_are_written_in_decimal_units():
    assert [cache_dir.size(n) for n in (12, 98_362_432, 999_960_000, 10**13)] == [
        "12 bytes",
        "98.4 MB",
        "1.0 GB",
        "10.0 TB",
    ]


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("flags : fpu avx2 avx512_bf16 gfni", True),
        ("flags : amx_tile amx_bf16", True),
        ("Features : fp asimd bf16", True),
        ("flags : fpu avx2 avx512f avx512_vnni", False),
    ],
)
def test_bfloat16_needs_its_instructions(tmp_path, monkeypatch, flags, fast):
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "cpuinfo")
    assert not hardware.fast_at_bfloat16(CPU)
    (tmp_path / "cpuinfo").write_text(flags)
    assert hardware.fast_at_bfloat16(CPU) == fast
    assert not hardware.fast_at_bfloat16(torch.device("meta"))

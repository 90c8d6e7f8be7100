"""The referee of the GPU path: its verdicts, and all rows where there is no GPU."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.engine import gpu
from tests.models import tiny

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def referee(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module("gpu_check")


def test_status_is_that_of_the_worst_row(referee: ModuleType) -> None:
    def status(*holds: bool | None) -> int:
        rows = [referee.Row("a", "1", each) for each in holds]
        found: int = referee.status(rows)
        return found

    assert [status(True, None), status(True)] == [0, 0]
    assert [status(True, False), status(None), status()] == [1, 1, 1]


def test_check_that_fails_is_a_row(referee: ModuleType) -> None:
    def out_of_memory(options: Namespace) -> Iterator[Any]:
        yield referee.Row("first", "1", True)
        raise RuntimeError("out of\nmemory")

    first, second = referee.tried([out_of_memory], Namespace())
    assert (first.verdict, second.verdict) == ("holds", "falls short")
    assert (second.what, second.figure) == ("out of memory", "out of memory")


def test_machine_without_a_gpu_is_an_error(
    referee: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        referee.main(["--device", "xpu"])
    assert "hint: run this on a machine with a GPU" in capsys.readouterr().err


def test_every_row_is_tried_on_a_gpu(
    referee: ModuleType,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tiny.save_llama(tmp_path / "model")
    file = tiny.write_gguf(folder, tmp_path / "model.gguf", "Q4_0")
    bench = tmp_path / "llama-bench"
    bench.write_text("#!/bin/sh\necho '[{\"avg_ts\": 0.5}]'\n")
    bench.chmod(0o755)
    for name, value in {
        "CONTEXTS": (8,),
        "_SCORED": 30,
        "LARGE": 0,
        "CHECKS": (referee.exactness, referee.decoding),
        # A thread of its own, where the GPU is not.
        "library_decode": lambda *_: 0.5,
        "bandwidth": lambda device: 1.0,
    }.items():
        monkeypatch.setattr(referee, name, value)
    for name, value in {
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_allocated": lambda device: 1 << 20,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with gpu.watched() as device, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr(
            torch.cuda,
            "set_sync_debug_mode",
            lambda mode: setattr(device, "sync_debug_mode", mode),
        )
        asked = ["--model", str(file), "--tokens", "6", "--rounds", "1"]
        referee.main([*asked, "--llama", str(bench)])
    told = capsys.readouterr().out
    assert "1.00 a token; 1 is meant | holds" in told
    verdicts = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip("| ")
        for line in told.splitlines()
        if line.startswith("| ")
    }
    assert verdicts.pop("the panel's numbers") == "not tried"
    assert set(verdicts.values()) <= {"holds", "verdict"}, told
    assert ended.value.code == 0

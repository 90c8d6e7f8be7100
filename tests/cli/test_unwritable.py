"""A home that can't be written to, or is full: that costs what can't be kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lmtui.cli.main import main


@pytest.fixture(params=["a file", "/proc/lmtui", "full"])
def closed(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A home in which nothing can be kept."""
    if request.param == "full":
        home = small_disk(4096 * 40)
        with suppress(OSError), (home / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    elif request.param == "a file":
        (home := tmp_path / "no folder").touch()
    else:
        home = Path(request.param)
    monkeypatch.setenv("LMTUI_HOME", str(home))
    return home


def test_verbs_work_and_warn_in_an_unwritable_home(
    closed: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (text := tmp_path / "text.txt").write_text("the quick brown fox")
    short = ("--max-tokens", "4")
    chosen = ("--model", str(model), "--device", "cpu", "--threads", "1")
    for verb, said in (
        (("chat", "--once", "the fox", *short, *chosen), "note: not saved: "),
        (("complete", str(text), "--print", *short, *chosen), "warning: "),
        (("score", str(text), *chosen), "warning: "),
    ):
        assert main(verb) == 0
        written = capsys.readouterr()
        assert written.out.strip()
        lines = written.err.splitlines()
        (told,) = [line for line in lines if line.startswith(said)]
        assert "can't be written to" in told or "the disk is full" in told


def test_fetching_a_model_into_an_unwritable_home_is_an_error(
    closed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", "--once", "the fox"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith(("error: this folder can't", "error: the disk is"))
    assert "\nhint: " in written.err

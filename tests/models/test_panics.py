"""The panic of a library written in Rust is an error like any other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError, SystemLimitError, panics_as_errors
from lmtui.models.errors import tokenizing
from tests.models import panics, tiny

TITLE = "the model's tokenizer fails on this text"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return panics.spoil(tiny.save_llama(tmp_path_factory.mktemp("spoilt")))


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_tokenizer_panic_is_an_error_with_a_hint(spoilt: Path, quantize) -> None:
    engine = LocalEngine.open(str(spoilt), device="cpu", quantize=quantize)
    with pytest.raises(LmtuiError) as caught:
        engine.encode(panics.TEXT)
    assert caught.value.title == TITLE and caught.value.hint
    with pytest.raises(LmtuiError, match=TITLE):
        engine.prompt([ChatTurn("user", panics.TEXT)])
    with pytest.raises(LmtuiError, match=TITLE):
        list(engine.document.score_span(panics.TEXT, 0, 1))
    assert engine.encode("the quick fox").ids


def test_program_reports_a_tokenizer_panic_with_a_hint(
    spoilt: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(panics.TEXT)
    done = subprocess.run(
        [sys.executable, "-m", "lmtui", "inspect", "text.txt", "--model", spoilt],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"RUST_BACKTRACE": "1"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith(f"error: {TITLE}: ")
    assert hint.startswith("hint: ")


def test_keyboard_interrupt_and_system_exit_pass_through() -> None:
    for end in (KeyboardInterrupt, SystemExit):
        with pytest.raises(end), panics_as_errors():
            raise end


def test_panic_for_lack_of_threads_is_a_limit_of_the_system() -> None:
    # Made here, since a real one takes a system without threads.
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(SystemLimitError, match="WouldBlock"), tokenizing():
        raise panic(
            "ThreadPoolBuildError: WouldBlock, Resource temporarily unavailable"
        )

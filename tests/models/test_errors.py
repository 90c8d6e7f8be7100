"""Libraries write nothing on stderr, also long after a model was loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import FalconMambaConfig, FalconMambaForCausalLM

from lmtui.errors import LmtuiError, SystemLimitError
from lmtui.models.errors import refuse_other_kinds, wrap_load_errors
from tests.models import tiny


def test_model_that_warns_writes_nothing_on_stderr(tmp_path: Path) -> None:
    folder = tmp_path / "falcon"
    config = FalconMambaConfig(
        vocab_size=len(tiny.tokenizer()),
        hidden_size=32,
        state_size=8,
        num_hidden_layers=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    FalconMambaForCausalLM(config).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    (tmp_path / "text.txt").write_text("the quick fox")
    done = subprocess.run(
        [sys.executable, "-m", "lmtui", "inspect", "text.txt", "--model", folder],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_refuse_other_kinds_ignores_architectures_that_are_no_list(
    tmp_path: Path,
) -> None:
    refuse_other_kinds({"architectures": 1.5}, tmp_path)
    with pytest.raises(LmtuiError, match="not a causal language model"):
        refuse_other_kinds({"architectures": 1.5, "is_encoder_decoder": 1}, tmp_path)


def test_lack_of_threads_is_not_blamed_on_the_model() -> None:
    said = "can't start new thread"
    with pytest.raises(SystemLimitError) as caught, wrap_load_errors("/x/model"):
        raise RuntimeError(said)
    told = f"{caught.value} {caught.value.hint}"
    assert "no thread or process can be started" in told and said in told
    assert "model" not in told

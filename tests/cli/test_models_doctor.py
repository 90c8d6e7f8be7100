"""`lmtui models …` and `lmtui doctor` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from lmtui.cli import doctor, models
from lmtui.errors import LmtuiError
from lmtui.kernels import compiler
from lmtui.models import catalogue, hardware
from lmtui.models.download import default_model
from tests.engine import gpu
from tests.models import tiny
from tests.models.remote.scripted import answer, scripted
from tests.models.remote.test_lmtui_server import MODEL

pytestmark = pytest.mark.usefixtures("no_shared_cache")
app = typer.Typer()
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)


def run(*arguments: str) -> str:
    """What a command writes on stdout; its LmtuiError is raised."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def put_default() -> Path:
    """A file that looks like the default model by its size."""
    file = default_model.default_file()
    file.parent.mkdir(parents=True)
    with file.open("wb") as hollow:
        hollow.truncate(default_model.FILE_BYTES)
    return file


def test_list_has_catalogue_and_local_models():
    text = run("models", "list")
    for entry in catalogue.CATALOGUE:
        assert entry.name in text and entry.note in text
    assert "no models yet" in text
    file = put_default()
    assert str(file) in run("models", "list")
    events = [json.loads(line) for line in run("models", "list", "--json").splitlines()]
    entries = [e for e in events if e["event"] == "entry"]
    assert [e["name"] for e in entries] == [e.name for e in catalogue.CATALOGUE]
    assert {e["fits"] for e in entries} <= {"yes", "no"}
    assert [e["here"] for e in entries] == [
        e["name"] == catalogue.DEFAULT for e in entries
    ]
    (local,) = [e for e in events if e["event"] == "local"]
    assert (local["kind"], local["bytes"]) == ("default", default_model.FILE_BYTES)


@pytest.mark.parametrize(
    ("gigabytes", "chat", "code", "prose"),
    [
        (2, "gemma-3-270m", None, None),
        (4, "minicpm5-1b", "qwen2.5-coder-0.5b", "gpt2"),
        (6, "qwen3.5-2b", "qwen2.5-coder-1.5b", "qwen3.5-2b-base"),
        (16, "qwen3.5-4b", "qwen2.5-coder-1.5b", "qwen3.5-2b-base"),
    ],
)
def test_list_marks_the_best_that_fit(
    gigabytes: int, chat: str, code: str | None, prose: str | None, monkeypatch
):
    monkeypatch.setattr(hardware, "total_ram", lambda: gigabytes << 30)
    events = [json.loads(line) for line in run("models", "list", "--json").splitlines()]
    best = {use: e["name"] for e in events for use in e.get("best_for", ())}
    wanted = {"chat": chat, "code": code, "prose": prose}
    assert best == {use: name for use, name in wanted.items() if name}
    line = next(x for x in run("models", "list").splitlines() if x.startswith(chat))
    assert "best for chat: " in line


def test_show_has_the_facts_of_a_model():
    text = run("models", "show", "qwen3.5-2b")
    for fact in ("unsloth/Qwen3.5-2B-GGUF", "Qwen3.5-2B-Q4_K_M.gguf", "262,144"):
        assert fact in text
    facts = json.loads(run("models", "show", "owner/unknown", "--json"))
    assert (facts["hub_id"], facts["here"]) == ("owner/unknown", False)


def test_show_has_the_facts_of_a_files_text(tmp_path: Path):
    file = tiny.write_gguf(tiny.save_llama(tmp_path / "model"), tmp_path / "it.gguf")
    text = run("models", "show", str(file))
    for line in (
        "tokenizer kind     byte-level BPE",
        "pre tokenizer      smollm",
        "stop tokens        <|endoftext|>; <|im_end|>",
        "types              F32 100%",
        "guessed            none",
    ):
        assert line in text
    facts = json.loads(run("models", "show", str(file), "--json"))
    assert facts["template_switches"] == []


def test_remove_asks_first(home: Path):
    file = put_default()
    with pytest.raises(LmtuiError) as caught:
        run("models", "remove", "default")
    assert caught.value.hint == "Add --yes."
    assert file.exists()
    assert "98.4 MB freed" in run("models", "remove", "default", "--yes")
    assert not file.exists()
    with pytest.raises(LmtuiError, match="not on this machine"):
        run("models", "remove", "default", "--yes")


def test_doctor_says_which_path_runs_and_why():
    text = run("doctor", "--device", "cpu")
    assert "fast for GGUF files and models shaped like Llama" in text
    assert "fetched at first use" in text
    exact = "exact: float32 on cpu"
    for flags, path in (
        (("--dtype", "bfloat16"), "fast: bfloat16 on cpu"),
        (("--quantize", "none"), exact),
        (("--dtype", "float32"), exact),
        (("--quantize", "int4"), "fast for GGUF files and models shaped like Llama"),
    ):
        facts = json.loads(run("doctor", "--device", "cpu", *flags, "--json"))
        assert facts["path"].startswith(path)
    assert {"torch", "transformers", "tokenizers", "threads", "memory"} <= set(facts)
    with pytest.raises(LmtuiError, match="unknown device"):
        run("doctor", "--device", "abacus")


@pytest.mark.parametrize(
    ("flags", "isa", "said"),
    [
        ("avx2 fma f16c", "", "avx2"),
        ("avx2 fma f16c avx_vnni", "avx2", "avx2"),
        ("fpu", "", "no AVX2"),
    ],
)
def test_doctor_names_the_instructions_in_use(flags, isa, said, x86):
    x86(flags, isa)
    facts = json.loads(run("doctor", "--device", "cpu", "--json"))
    assert facts["instructions"] == said


def test_doctor_says_how_a_model_would_run(tmp_path, monkeypatch):
    folder = tiny.save_llama(tmp_path / "folder")
    file = tiny.write_gguf(folder, tmp_path / "it.gguf", "Q8_0")
    asked = ("doctor", "--device", "cpu", "--json", "--model")

    def told(path, *more):
        return json.loads(run(*asked, str(path), *more))

    if compiler.compiler_id() is not None:
        facts = told(file)
        assert facts["runs"] == "fast: its weights (Q8_0, F32) mapped from the file"
        assert "mapped, and up to" in facts["needs"]
        facts = told(file, "--quantize", "int4")
        assert facts["runs"].startswith("fast: its weights rounded to int4 once")
        assert "mapped, and up to" in facts["needs"]
        assert told(folder, "--quantize", "int8")["runs"].endswith("from the cache")
    assert told(file, "--quantize", "none")["runs"].startswith("in float32 on cpu")
    exact = "exact: in float32, all weights loaded, since its weights are not quantised"
    assert told(folder)["runs"] == f"{exact}; --quantize int8 does it"
    plain = tiny.write_gguf(folder, tmp_path / "plain.gguf", "F32")
    assert told(plain)["runs"] == told(folder)["runs"]
    other = tiny.save_brief(tmp_path / "other", "gpt2", torch.bfloat16)
    assert "gpt2 is not shaped like Llama" in told(other, "--quantize", "int8")["runs"]
    assert "gguf" in told(file)["model"]
    assert "not here yet" in told("gpt2")["model"]
    monkeypatch.setenv("CXX", "/nowhere/c++")
    why = "since there is no C++ compiler"
    assert why in told(file)["runs"]


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_doctor_names_the_gpu(kind):
    with gpu.watched(kind):
        result = CliRunner().invoke(app, ["doctor"])
    told = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert told["devices"] == f"{kind}, cpu"
    assert told["device"].startswith(f"{kind} (Example GPU), 8.6 GB free")


def test_doctor_asks_the_server_that_has_the_model():
    listed = answer(json.dumps({"data": [MODEL]}).encode())
    with scripted([listed]) as served:
        facts = json.loads(run("doctor", "--model", served.url, "--json"))
    host = served.url.split("/")[2]
    assert facts["model"] == f"tiny on lmtui at {host}"
    with pytest.raises(LmtuiError, match="the server can't be reached"):
        run("doctor", "--model", served.url)


LATE = """
import sys
from typer.testing import CliRunner
from lmtui.cli import doctor, models
assert CliRunner().invoke(models.app, ["list"]).exit_code == 0
assert not {"torch", "transformers"} & set(sys.modules)
"""


def test_a_list_needs_no_torch():
    subprocess.run([sys.executable, "-c", LATE], check=True)

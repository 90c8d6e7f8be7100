"""Servers of the settings file, as the commands use and show them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtui.cli import engine, history
from lmtui.cli.chat import with_own_model
from lmtui.config.load import load
from lmtui.config.settings import Server, Settings
from lmtui.errors import LmtuiError
from lmtui.models import catalogue, inventory
from lmtui.models import load as loading
from lmtui.models.progress import ignore
from lmtui.models.remote.address import KEY_VARIABLE
from lmtui.models.source import ModelRef
from tests.cli.program import run
from tests.cli.test_resume import keep
from tests.models import tiny
from tests.models.remote.scripted import Scripted, answer, scripted
from tests.models.remote.test_lmtui_server import MODEL

KEYS = {"GPU_KEY": "a-secret", KEY_VARIABLE: "another"}
REFUSES = answer(b"", "401 No")


@pytest.fixture
def gpu(home: Path) -> Iterator[Scripted]:
    """The server called gpu, which refuses every key."""
    with scripted([REFUSES] * 3) as served:
        (home / "config.toml").write_text(
            f'[servers.gpu]\naddress = "{served.url}"\nkey = "GPU_KEY"\n'
            'dialect = "vllm"\n'
        )
        yield served


def only_asked_with_its_key(served: Scripted, times: int = 1) -> bool:
    """Whether these requests came, each with the key of the server's own variable."""
    own = [b"Bearer a-secret" in each for each in served.asked]
    return own == [True] * times and b"another" not in b"".join(served.asked)


@pytest.mark.parametrize("way", ["flag", "variable", "address"])
def test_model_of_a_named_server_is_asked_for_with_its_own_key(
    gpu: Scripted, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    if way == "variable":
        monkeypatch.setenv("LMTUI_MODEL", "gpu")
    settings = load({"model": {"flag": "gpu", "address": f"{gpu.url}#m"}.get(way)})
    with pytest.raises(LmtuiError, match="refuses the key") as caught:
        engine.open_model(settings, settings.model_ref, ignore)
    assert "GPU_KEY" in caught.value.hint
    assert only_asked_with_its_key(gpu)


def test_key_that_no_request_can_carry_is_an_error(
    gpu: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_KEY", "a-secret-ключ")
    settings = load({"model": "gpu"})
    with pytest.raises(LmtuiError, match="the variable GPU_KEY has char") as caught:
        engine.open_model(settings, settings.model_ref, ignore)
    assert "a-secret" not in f"{caught.value} {caught.value.hint}"
    assert not gpu.asked


def test_both_models_of_a_comparison_may_be_named_servers(
    gpu: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    opened: list[object] = []

    def open_nothing(spec: str | None, **more: object) -> None:
        opened.append(spec)
        raise LmtuiError("nothing is opened")

    monkeypatch.setattr(loading, "load_pair", open_nothing)
    settings = load({"model": "gpu"})
    with pytest.raises(LmtuiError, match="refuses the key"):
        engine.open_pair(settings, settings.model_ref, ModelRef("gpu"), ignore)
    with pytest.raises(LmtuiError, match="nothing is opened"):
        engine.open_pair(settings, settings.model_ref, ModelRef("gpu", "notes"), ignore)
    assert opened == [gpu.url]


def test_doctor_asks_the_named_server(home: Path) -> None:
    listed = answer(json.dumps({"data": [MODEL]}).encode())
    with scripted([listed, REFUSES]) as served:
        (home / "config.toml").write_text(
            f'model = "gpu"\n[servers.gpu]\naddress = "{served.url}"\nkey = "GPU_KEY"\n'
        )
        (facts,) = run("doctor", "--json", env=KEYS).events
        assert facts["model"].startswith("tiny on lmtui at 127.0.0.1")
        refused = run("doctor", "--json", env=KEYS)
        assert "refuses the key" in refused.err and "GPU_KEY" in refused.err
    assert only_asked_with_its_key(served, 2)


def test_config_and_list_show_servers_and_never_a_key(gpu: Scripted) -> None:
    shown = run("config", env=KEYS)
    (_, text) = shown.out.split("[servers.gpu]\n")
    assert text.splitlines()[:3] == [
        f"    address = {gpu.url}",
        "    key = GPU_KEY",
        "    dialect = vllm",
    ]
    listed = run("models", "list", env=KEYS)
    assert f"gpu   {gpu.url}  GPU_KEY" in listed.out
    json_lines = [
        run(*verb, "--json", env=KEYS) for verb in (["config"], ["models", "list"])
    ]
    for done in json_lines:
        (event,) = [each for each in done.events if each["event"] == "server"]
        assert event["name"] == "gpu" and event["address"] == gpu.url
        assert event["key_variable"] == "GPU_KEY"
    for done in (shown, listed, *json_lines):
        assert done.code == 0 and "a-secret" not in done.out + done.err
    assert not gpu.asked


def test_training_refuses_the_model_of_a_named_server(
    gpu: Scripted, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("a note")
    done = run("finetune", str(notes), "--model", "gpu", "--json")
    assert done.code == 2
    assert "this needs a model on this machine" in done.err
    assert not gpu.asked


def test_unknown_name_is_answered_with_the_closest_server(gpu: Scripted) -> None:
    done = run("doctor", "--model", "gpuu")
    assert "there is no such model: gpuu" in done.err
    assert "Did you mean gpu or" in done.err


def test_conversation_never_chooses_a_server_by_its_models_name(gpu: Scripted) -> None:
    keep(catalogue.DEFAULT)
    before = history.load("last")
    servers = {catalogue.DEFAULT: Server("", gpu.url)}
    for settings, is_here in (
        (Settings(), True), (load(), True), (Settings(servers=servers), False),
    ):  # fmt: skip
        used, missing = with_own_model(settings, before)
        assert used.model == catalogue.DEFAULT
        assert (missing is None) == is_here
    keep("gpu")
    done = run("chat", "--resume", "last", "--once", "more")
    assert "the model of this conversation is not on this machine" in done.err
    assert not gpu.asked


def test_models_screen_lists_the_named_servers(gpu: Scripted) -> None:
    servers = {each.name: each.address for each in load().servers.values()}
    row = inventory.rows(servers)[-1]
    assert (row.name, row.address, row.model_ref) == ("gpu", gpu.url, ModelRef("gpu"))
    assert not gpu.asked


def test_error_within_a_server_is_one_line(tmp_path: Path) -> None:
    tiny.save_llama(tmp_path / "model")
    listed = answer(json.dumps({"data": [{"id": "m", "owned_by": "vllm"}]}).encode())
    words = "2 validation errors:\n  File /home/them/server.py, line 3"
    refused = answer(json.dumps({"error": {"message": words}}).encode(), "500 Oh")
    with scripted([listed, refused]) as served:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "lmtui", "inspect", "-"),
                *("--model", served.url, "--tokenizer", str(tmp_path / "model")),
            ],
            input="the quick fox",
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("answers 500: 2 validation errors:\n")

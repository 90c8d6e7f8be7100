"""`lmtui adapters …`, and `--adapter` beside every verb, as a user runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from click.testing import Result
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from lmtui import paths
from lmtui.cli import adapters, doctor
from lmtui.cli.main import main
from lmtui.errors import LmtuiError
from tests.cli.program import run_in_terminal
from tests.models import learned, tiny

app = typer.Typer()
app.add_typer(adapters.app, name="adapters")
app.command("doctor")(doctor.doctor)

pytestmark = pytest.mark.usefixtures("no_shared_cache")
QUOTED = ("report.md", "report.json", "events.jsonl")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model; not to be changed."""
    return tiny.save_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def lora(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter for it; not to be changed."""
    return learned.save_lora(tmp_path_factory.mktemp("lora") / "lora", llama)


@pytest.fixture
def notes(empty_home: Path, lora: Path, llama: Path) -> Path:
    """The adapter as a training leaves it, called `notes`."""
    folder = learned.keep_lora("notes", lora, llama)
    for name in QUOTED:
        (folder / name).write_text("what the notes say")
    return folder


def ended(*arguments: str) -> Result:
    """How a command ended that went well; its LmtuiError is raised."""
    result = CliRunner().invoke(app, ["adapters", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run(*arguments: str) -> str:
    """What a command writes on stdout; its LmtuiError is raised."""
    return ended(*arguments).stdout


def told(*arguments: str) -> str:
    """What a command writes on stderr."""
    return ended(*arguments).stderr


def refused(*arguments: str) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        run(*arguments)
    return caught.value


def test_list_shows_adapters_with_figures_and_problems(
    notes: Path, llama: Path
) -> None:
    (notes.parent / "broken").mkdir()
    shutil.copytree(notes, notes.parent / "foreign")
    (notes.parent / "foreign" / "card.json").unlink()
    lines = {line.split()[0]: line for line in run("list").splitlines()}
    assert list(lines) == ["NAME", "broken", "foreign", "notes"]
    for words in ("LoRA", "2026-07-14", "3.210 → 2.870", llama.name):
        assert words in lines["notes"]
    assert "this folder does not contain an adapter" in lines["broken"]
    assert "made by another program" in lines["foreign"]
    event = json.loads(run("list", "--json").splitlines()[-1])
    assert (event["name"], event["kind"], event["problem"]) == ("notes", "lora", None)
    assert event["before"]["loss"] == 3.21 and event["after"]["loss"] == 2.87
    for name in lines.keys() - {"NAME"}:  # a damaged one as well
        run("remove", name, "--yes")
    assert "lmtui finetune NOTES" in run("list")


def test_show_has_settings_and_losses_before_and_after(notes: Path) -> None:
    text = run("show", "notes")
    for words in (
        "SHA-256",
        "1 file, 10 documents: 9 to train on, 1 held out",
        "rank 4, lr 0.0002",
        "60, the best after 40",
        str(notes / "report.md"),
    ):
        assert words in text
    rows = [line.split() for line in text.splitlines() if "loss, nats a token" in line]
    assert [row[-2:] for row in rows] == [["3.210", "2.870"], ["2.900", "2.950"]]
    event = json.loads(run("show", str(notes), "--json"))
    assert event["card"]["metrics"]["steps"] == 60
    assert event["report"] == str(notes / "report.md")


def test_show_without_a_card_names_another_program(lora: Path) -> None:
    text = run("show", str(lora))
    assert "another program" in text and "BEFORE" not in text


def test_merge_writes_a_model(notes: Path, llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    assert run("merge", "notes", str(out)) == f"{out}\n"
    for part in (out, *out.iterdir()):
        assert part.stat().st_mode & 0o077 == 0, part.name
    found = AutoModelForCausalLM.from_pretrained(out).eval()
    wanted = learned.unmerged(llama, notes)
    fast = tiny.tokenizer()
    assert torch.allclose(
        tiny.logits(found, fast), tiny.logits(wanted, fast), atol=1e-3
    )
    error = refused("merge", "notes", str(out))
    assert error.title == "this path already exists"
    # Its model can be named, and has to be the right one.
    again = tmp_path / "again"
    said = told("merge", "notes", str(again), "--model", str(llama))
    assert "word for word" in said
    other = refused("merge", "notes", str(tmp_path / "x"), "--model", str(out))
    assert other.title == "this adapter was made for another model"
    assert not (tmp_path / "x").exists()


def test_merge_refuses_a_whole_model(home: Path, llama: Path, tmp_path: Path) -> None:
    folder = learned.keep_whole("all", llama)
    error = refused("merge", "all", str(tmp_path / "x"))
    assert error.title == "this is a whole model already"
    assert f"--model {folder}" in error.hint
    assert "all weights" in run("show", "all")


def test_remove_asks_first(notes: Path) -> None:
    assert refused("remove", "notes").hint == "Add --yes."
    assert notes.exists()
    assert "freed" in run("remove", str(notes), "--yes")
    assert not notes.exists()
    for wrong in ("notes", "x" * 5000, "a\0b", ""):
        assert refused("remove", wrong, "--yes").title == "there is no such adapter"


def test_remove_on_a_terminal_follows_the_answer(notes: Path) -> None:
    for answer, code in ((b"n\n", 130), (b"y\n", 0)):
        assert notes.exists()
        ended, written = run_in_terminal(
            "adapters", "remove", "notes", typed=[(b"permanently?", answer)]
        )
        assert ended == code
        assert str(notes).encode() in written.replace(b"\r\n", b"")
    assert not notes.exists()


def test_import_copies_a_folder(notes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my notes"
    shutil.copytree(notes, folder)
    for left_behind in ("optimizer.pt", "README.md", ".hidden"):
        (folder / left_behind).write_text("x")
    (folder / "link.json").symlink_to("/etc/passwd")
    place = paths.adapters_folder() / "my-notes"
    assert run("import", str(folder)) == f"{place}\n"
    names = {file.name for file in place.iterdir()}
    assert names == {file.name for file in notes.iterdir()} - {"README.md"}
    for file in place.iterdir():
        assert file.read_bytes() == (notes / file.name).read_bytes()
        assert file.stat().st_mode & 0o077 == 0
    assert place.stat().st_mode & 0o077 == 0
    assert "SHA-256" in run("show", "my-notes")
    assert refused("import", str(folder)).title.startswith("an adapter of this name")
    assert run("import", str(folder), "--name", "other").endswith("other\n")
    wrong = refused("import", str(folder), "--name", "../x")
    assert wrong.title.startswith("this name")


def test_import_refuses_hostile_folders_and_leaves_nothing(
    empty_home: Path, lora: Path, tmp_path: Path
) -> None:
    weights = "adapter_model.safetensors"
    cases: dict[str, dict[str, bytes]] = {
        "cut": {weights: (lora / weights).read_bytes()[:-9]},
        "card": {"card.json": b"{}"},
        "config": {"adapter_config.json": b"[" * 9000},
    }
    for name, files in cases.items():
        shutil.copytree(lora, tmp_path / name)
        for file, data in files.items():
            (tmp_path / name / file).write_bytes(data)
    shutil.copytree(lora, tmp_path / "linked")
    (tmp_path / "linked" / weights).unlink()
    (tmp_path / "linked" / weights).symlink_to(lora / weights)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "adapter_model.bin").write_bytes(b"x")
    (tmp_path / "file").write_text("x")
    for name in (*cases, "linked", "pickled", "file", "none"):
        assert refused("import", str(tmp_path / name)).hint, name
        folder = paths.adapters_folder()
        assert not folder.exists() or not list(folder.iterdir()), name


def test_adapter_of_whole_numbers_is_refused(notes: Path) -> None:
    file = notes / "adapter_model.safetensors"
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    file.write_bytes(data[:end].replace(b'"F32"', b'"I32"') + data[end:])
    error = refused("show", "notes")
    assert "stored as I32" in error.detail and error.hint


@pytest.mark.parametrize("make", [os.mkfifo, lambda file: file.symlink_to("/dev/zero")])
def test_pipes_and_devices_in_an_adapter_are_refused(
    notes: Path, make: Callable[[Path], None]
) -> None:
    for name in ("card.json", "adapter_config.json", "tokenizer_config.json"):
        (notes / name).unlink(missing_ok=True)
        make(notes / name)
        assert refused("show", "notes").hint
        again = refused("import", str(notes), "--name", "x")
        assert "no ordinary file" in again.detail
        assert "a file of this folder can't be read" in run("list")


def test_doctor_names_the_adapters(notes: Path, llama: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    said = json.loads(result.stdout)["adapters"]
    assert said == f"notes ({llama.name}); in {notes.parent}"


# `--adapter`.


def written(*arguments: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What the program writes on stdout, with real engines."""
    code = main([*arguments, "--device", "cpu"])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


@pytest.mark.usefixtures("notes")
def test_every_verb_takes_an_adapter(
    llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "a.txt").write_text("the quick fox")
    verbs = (
        ("chat", "--once", "hi", "--max-tokens", "2", "--seed", "1"),
        ("complete", str(file), "--max-tokens", "2"),
        ("inspect", str(file)),
    )
    for verb in verbs:
        found = []
        for flags in (("--model", str(llama)), ("--adapter", "notes")):
            lines = written(*verb, "--json", *flags, capfd=capfd).splitlines()
            events = [json.loads(line) for line in lines]
            (about,) = [event for event in events if "model" in event]
            found.append((about, [event.get("logprob") for event in events]))
        (alone, its), (more, others) = found
        assert "adapter" not in alone
        assert more["adapter"] == "notes"
        assert Path(more["model"]) == llama.resolve()
        assert its != others
    text = written("inspect", str(file), "--adapter", "notes", capfd=capfd)
    assert f" {llama.name} + notes" in text


@pytest.mark.usefixtures("notes")
def test_a_model_is_compared_with_its_adapter(
    llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each half says what it says alone, whichever model the settings name."""
    (file := tmp_path / "a.txt").write_text("the quick fox — ça va?")
    (paths.home() / "config.toml").write_text('model = "another"\n')

    def numbers(*flags: str) -> list[dict[str, object]]:
        out = written("inspect", str(file), "--json", *flags, capfd=capfd)
        return [json.loads(line) for line in out.splitlines()]

    *tokens, own, other, compared = numbers("--against-adapter", "notes")
    assert "adapter" not in own
    assert other["adapter"] == compared["other_adapter"] == "notes"
    assert own["model"] == other["model"]
    alone = numbers("--model", str(llama))
    adapted = numbers("--adapter", "notes")
    for both, one, two in zip(tokens, alone, adapted, strict=False):
        assert both["logprob"] == one["logprob"]
        assert both["other_logprob"] == pytest.approx(two["logprob"], abs=1e-4)
    swapped = numbers("--adapter", "notes", "--against", str(llama))[-1]
    assert swapped["bits"] == pytest.approx(-compared["bits"], abs=1e-3)


LATE = """
import sys
from typer.testing import CliRunner
from lmtui.cli import adapters
notes = sys.argv[1]
for arguments in (["list"], ["show", notes], ["import", notes, "--name", "x"]):
    result = CliRunner().invoke(adapters.app, arguments)
    assert result.exit_code == 0, result.output
assert not {"torch", "transformers", "peft"} & set(sys.modules)
"""


def test_only_merging_needs_torch(notes: Path) -> None:
    subprocess.run([sys.executable, "-c", LATE, str(notes)], check=True)

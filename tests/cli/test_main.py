"""The edge of the program: help, version, and every way to end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from lmtui import __version__
from lmtui.cli import main as entry
from lmtui.cli.main import VERBS, main
from tests.cli.program import REPOSITORY, begun, command, run

ADAPTER_VERBS = ("list", "show", "merge", "import", "remove")


def test_lmtui_or_a_group_of_verbs_alone_prints_its_help() -> None:
    alone, asked, group = run(), run("--help"), run("models")
    assert alone == asked and (asked.code, asked.err) == (0, "")
    assert all(verb in asked.out for verb in VERBS)
    assert (group.code, group.err) == (0, "")
    assert "lmtui models" in group.out


@pytest.mark.parametrize(("given", "policy"), [(None, "passive"), ("active", "active")])
def test_threads_of_torch_wait_without_spinning_unless_the_user_says_so(
    given: str | None, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    found: list[str] = []
    monkeypatch.setattr(
        entry, "main", lambda: found.append(os.environ["OMP_WAIT_POLICY"])
    )
    monkeypatch.setattr(entry, "leave", lambda _: None)
    entry.run()
    assert found == [policy]


def test_version_flag_prints_the_version() -> None:
    assert run("--version").out == f"lmtui {__version__}\n"


@pytest.mark.parametrize(
    "verb",
    [
        *VERBS,
        *(f"adapters {verb}" for verb in ADAPTER_VERBS),
        *(f"models {verb}" for verb in ("list", "show", "fetch", "remove")),
    ],
)
def test_every_verb_has_help_with_examples(verb: str) -> None:
    done = run(*verb.split(), "-h")
    assert done.code == 0
    assert f"  lmtui {verb}" in done.out.partition("Examples:")[2]
    assert max(len(line) for line in done.out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["chta"], "No such command 'chta'", "See `lmtui --help`."),
        (["complete"], "Missing argument 'FILE'", "See `lmtui complete --help`."),
        (["--frobnicate"], "No such option: --frobnicate", "See `lmtui --help`."),
        (
            ["inspect", "--window", "abc", "x"],
            "--window takes a whole number: abc",
            "See `lmtui inspect --help`.",
        ),
        (
            ["chat", "--temperature", "hot"],
            "--temperature takes a number: hot",
            "See `lmtui chat --help`.",
        ),
        (
            ["inspect", "--bos", "maybe", "x"],
            "--bos takes auto, yes or no: maybe",
            "See `lmtui inspect --help`.",
        ),
        (
            ["inspect", "--wind", "3", "x"],
            "No such option: --wind",
            "Did you mean --window? See `lmtui inspect --help`.",
        ),
        (
            ["chat", "one", "two"],
            "Too many arguments: one two",
            "See `lmtui chat --help`.",
        ),
        (
            ["config", "set", "seed", "7"],
            "Too many arguments: set seed 7",
            "Settings are changed with F10, or in their file. "
            "See `lmtui config --help`.",
        ),
    ],
)
def test_usage_errors_have_the_same_form(
    arguments: list[str], error: str, hint: str
) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"error: {error}")
    assert second == f"hint: {hint}"


def test_an_unknown_setting_is_a_warning_and_stops_no_verb(empty_home: Path) -> None:
    (empty_home / "config.toml").write_text(
        '[chat]\nstreem = "\x1b[31m"\n'.replace("\x1b", "\\u001b")
    )
    for verb in (["chat", "--once", "a"], ["models", "list"], ["config"], ["themes"]):
        done = run(*verb)
        assert done.code == 0
        assert done.err.startswith("warning: unknown setting chat.streem in ")
        assert "\x1b" not in done.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_verb_with_its_number(number: signal.Signals) -> None:
    """As a shell reports it: 128 and the number."""
    verb = command(["chat", "--once", "a"], {"flood": 1000})
    shell = ["sh", "-c", '"$@" & echo $!; wait $!', "sh", *verb]
    with subprocess.Popen(
        shell, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPOSITORY
    ) as running:
        assert running.stdout
        pid = int(running.stdout.readline())
        assert running.stdout.read(1) == b"x"  # it is at work
        os.kill(pid, number)
        while running.stdout.read(1 << 16):
            pass
        assert running.wait(timeout=60) == 128 + number


def test_a_bug_leaves_its_traceback_in_the_log(empty_home: Path) -> None:
    done = run("chat", "--once", "a", script={"bug": "surprise"})
    log = empty_home / "logs" / "lmtui.log"
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert str(log) in done.err
    assert "RuntimeError: surprise" in log.read_text(encoding="utf-8")
    assert "Traceback" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        RuntimeError("Resource temporarily unavailable"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    ],
)
def test_lack_of_threads_is_an_error_of_the_environment(
    error: Exception, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(settings: object) -> NoReturn:
        raise error

    assert main(["chat", "--once", "hi"], open_engine=refuse) == 2
    out, said = capsys.readouterr()
    assert out == "" and said.startswith("error: no thread or process can be started: ")
    assert "hint: End some programs" in said
    assert not (home / "logs").exists()


def test_a_bug_without_a_log_still_ends_in_order(tmp_path: Path) -> None:
    file = tmp_path / "not-a-folder"
    file.write_text("", encoding="utf-8")
    env = {"LMTUI_HOME": str(file)}
    done = run("chat", "--once", "a", script={"bug": "surprise"}, env=env)
    assert done.code == 1
    assert "Traceback" not in done.err


def test_verbs_create_no_files_without_need(empty_home: Path) -> None:
    run("chat", "--once", "a", env={"LMTUI_CHAT_KEEP": "false"})
    run("config")
    run("history", "list")
    assert os.listdir(empty_home) == []


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["chat", "--once", "a"], ["inspect", "LICENSE"]],
    ids=["typer", "plain", "rich"],
)
def test_closed_stdout_ends_every_writer_quietly(arguments: list[str]) -> None:
    with begun(*arguments, script={"engine": {"answers": ["b"]}}) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(timeout=60) == 141


def test_output_is_utf8_whatever_the_locale() -> None:
    script = {"engine": {"answers": ["Zürich 橋"]}}
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("chat", "--once", "a", script=script, env=env, fresh=True)
    assert done.out == "Zürich 橋\n"


def test_closed_standard_streams_cause_no_traceback() -> None:
    shell = f"{sys.executable} -m tests.cli.child '{{}}' chat --once a"
    for closed in (">&-", "2>&-", "<&-"):
        done = subprocess.run(
            ["sh", "-c", f"{shell} {closed}"],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode in {0, 2}, closed


def test_config_shows_values_origins_and_meanings(empty_home: Path) -> None:
    file = empty_home / "config.toml"
    file.write_text('model = "m"\n[keys]\n"chat.stop" = "f5"\n', encoding="utf-8")
    done = run("config", "--json", env={"LMTUI_SEED": "7"})
    first, *settings = done.events
    assert first == {"event": "file", "path": str(file), "exists": True}
    by_key = {event["key"]: event for event in settings if "key" in event}
    assert by_key["model"]["place"] == str(file)
    assert by_key["model"]["source"] == "file"
    assert by_key["sampling.seed"]["value"] == 7
    assert by_key["sampling.seed"]["place"] == "LMTUI_SEED"
    assert by_key["sampling.top_k"]["source"] == "default"
    assert {"event": "own_key", "id": "chat.stop", "keys": "f5"} in done.events
    text = run("config").out
    assert f"settings file: {file}\n" in text
    assert f"model = m    ({file})" in text
    assert f"keys.chat.stop = f5    ({file})\n" in text
    assert max(len(line) for line in text.splitlines() if str(file) not in line) <= 80


def test_config_shows_the_sampler_of_the_model_and_whose_it_is(
    empty_home: Path, tmp_path: Path
) -> None:
    told = {each["key"]: each for each in run("config", "--json").events[1:]}
    assert told["sampling.temperature"]["value"] == 0.2
    assert told["sampling.temperature"]["source"] == "model"
    assert told["sampling.top_k"]["source"] == "default"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "generation_config.json").write_text('{"temperature": 0.6}')
    file = empty_home / "config.toml"
    file.write_text(f'model = "{folder}"\n[sampling]\ntop_p = 0.5\n')
    lines = run("config").out.splitlines()
    (shown,) = (line for line in lines if line.startswith("sampling.temperature"))
    assert shown.startswith("sampling.temperature = 0.6 ")
    assert "recommended for" in shown
    (shown,) = (line for line in lines if line.startswith("sampling.top_p"))
    assert str(file) in shown


def test_config_lists_the_keys_in_force(empty_home: Path) -> None:
    file = empty_home / "config.toml"
    file.write_text('[keys]\nchat.regenerate = "F12, f11"\nno.such = "x"\n', "utf-8")
    done = run("config", "--keys")
    assert done.code == 0
    assert done.err == "note: [keys] no.such: there is no such action\n"
    (line,) = (x for x in done.out.splitlines() if x.startswith("chat.regenerate"))
    assert line.split()[1:4] == ["f12,", "f11", "(yours)"]
    by_id = {event["id"]: event for event in run("config", "--keys", "--json").events}
    assert by_id["chat.regenerate"]["keys"] == ["f12", "f11"]
    assert by_id["chat.regenerate"]["default"] == ["ctrl+r"]
    assert by_id["chat.regenerate"]["source"] == "file"
    assert all(event["meaning"] for event in by_id.values())

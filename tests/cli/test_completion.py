"""Shell completion: what is offered, how fast a process it is, and installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.chat.conversation import Conversation
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.main import main
from tests.chat.making import exchange
from tests.cli.program import REPOSITORY

PROGRAM = Path(sys.executable).with_name("lmtui")
INJECTED = "x\"; $(touch owned) `touch owned` ' \\ [red] :"


Offered = Callable[..., list[str]]


@pytest.fixture
def offered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Offered:
    """What bash is given for the last of the words."""

    def ask(*words: str) -> list[str]:
        monkeypatch.setenv("_LMTUI_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit) as end:
            main([])
        out, err = capsys.readouterr()
        assert (end.value.code, err) == (0, "")
        return out.split()

    return ask


@pytest.fixture
def filled(home: Path) -> Path:
    """A home with a conversation, an adapter, a theme and a preset, two of them with a
    name that a shell would obey."""
    store = Store(paths.chats_file())
    chat = Conversation()
    exchange(chat, "hello")
    store.add("a", chat, ConversationMeta(INJECTED))
    store.close()
    for name in ("notes", "$(touch owned)"):
        folder = home / "adapters" / name
        folder.mkdir(parents=True)
    (home / "config.toml").write_text(
        '[presets.pirate]\nsystem = "Arr."\n[presets."$(touch owned)"]\nsystem = "x"\n'
        '[servers.cellar-gpu]\naddress = "http://127.0.0.1:1"\n'
    )
    return home


def test_verbs_flags_choices_and_names_are_offered(
    filled: Path, offered: Offered
) -> None:
    assert offered("lmtui", "fine") == ["finetune"]
    assert offered("lmtui", "adapters", "sh") == ["show"]
    assert "--against-adapter" in offered("lmtui", "inspect", "--ag")
    assert offered("lmtui", "inspect", "--bos", "") == ["auto", "yes", "no"]
    assert offered("lmtui", "chat", "--quantize", "i") == ["int8", "int4"]
    assert "qwen3.5-2b" in offered("lmtui", "chat", "--model", "qwen3")
    assert offered("lmtui", "chat", "--model", "cellar") == ["cellar-gpu"]
    assert offered("lmtui", "chat", "--adapter", "") == ["notes"]
    assert offered("lmtui", "chat", "--preset", "") == ["pirate"]
    assert "light" in offered("lmtui", "chat", "--theme", "")
    assert offered("lmtui", "chat", "--resume", "") == ["last", "1"]
    assert offered("lmtui", "history", "show", "") == ["last", "1"]
    assert offered("lmtui", "help", "g") == ["glossary", "grammar"]
    assert offered("lmtui", "inspect", "README") == []  # the shell offers files


def test_completing_ignores_broken_settings(home: Path, offered: Offered) -> None:
    (home / "config.toml").write_text("[presets\n")
    assert offered("lmtui", "chat", "--preset", "") == []
    assert "qwen3.5-2b" in offered("lmtui", "chat", "--model", "qwen3")


@pytest.mark.parametrize("flag", ["--model", "--theme", "--resume"])
def test_completing_imports_nothing_heavy(flag: str, filled: Path) -> None:
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('lmtui', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(*set(sys.modules) & {'torch', 'transformers', 'numpy'})"
    )
    asked = {"_LMTUI_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked, "COMP_WORDS": f"lmtui chat {flag} "},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_runs_the_completion_script_and_obeys_no_name(
    shell: str, filled: Path, tmp_path: Path
) -> None:
    binary = shutil.which(shell)
    if binary is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    env = {**os.environ, "HOME": str(tmp_path), "PATH": path}
    flags = {"bash": ["-c"], "zsh": ["-fc"], "fish": ["--no-config", "-c"]}[shell]

    def run(command: str) -> str:
        return subprocess.run(
            [binary, *flags, command],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    # More than one command: the shell stays the parent, which is looked for.
    script = tmp_path / "script"
    script.write_text(run("lmtui --show-completion; true"))
    ask = {
        "bash": f"source {script}; COMP_WORDS=(lmtui chat --resume ''); COMP_CWORD=3;"
        ' _lmtui_completion lmtui; echo "${COMPREPLY[@]}"',
        # What completes is a widget of the editor's; a stand-in shows its arguments.
        "zsh": 'compdef() {}; _arguments() { eval "set -- '
        r'${${1#*\(\(}%\)\)}"; print -r -- $@ };'
        f" source {script}; words=(lmtui chat --resume ''); CURRENT=4;"
        " _lmtui_completion",
        "fish": f"source {script}; complete -C 'lmtui chat --resume '",
    }[shell]
    assert "last" in run(ask)
    assert not (tmp_path / "owned").exists()


def test_install_completion_writes_script_and_bashrc(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM} --install-completion; exit $?"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file = tmp_path / ".bash_completions" / "lmtui.sh"
    assert str(file) in done.stdout and str(file) in (tmp_path / ".bashrc").read_text()
    assert "_LMTUI_COMPLETE" in file.read_text()

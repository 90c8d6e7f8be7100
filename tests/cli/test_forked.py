"""A forked program is what a started one is, and so is one in the tests' process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from lmtui.cli.main import VERBS
from tests.cli.forked import Forked
from tests.cli.program import Process, begun, run
from tests.models import tiny

CALLS = {
    "chat": ["chat", "--once", "a"],
    "complete": ["complete", "-", "--print"],
    "inspect": ["inspect", "-", "--json"],
    "score": ["score", "-"],
    "why": ["why", "-", "1:3"],
    "lens": ["lens", "-"],
    "tokens": ["tokens", "-", "--model", "NOTES"],
    "finetune": ["finetune", "NOTES", "--headless", "--dry-run"],
    "learn": ["learn", "--plain", "softmax"],
    "serve": ["serve", "--port", "-1"],
    "history": ["history", "list"],
    "adapters": ["adapters", "list"],
    "models": ["models", "list"],
    "themes": ["themes"],
    "config": ["config"],
    "doctor": ["doctor", "--json"],
    "help": ["help"],
}
"""A run of each verb; in a fresh interpreter, it has to import what it needs."""
AT_WORK = {"flood": 1000}  # blocks until someone reads


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_the_same_in_a_fresh_interpreter(
    verb: str, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("a note")
    if verb == "tokens":
        tiny.save_llama(tmp_path)
    arguments = [word.replace("NOTES", str(tmp_path)) for word in CALLS[verb]]
    script = {"engine": {"answers": ["It is Paris."]}}
    started, here = (
        run(*arguments, script=script, stdin="Hello", fresh=fresh)
        for fresh in (True, False)
    )
    assert (started.code, started.err) == (here.code, here.err)
    if verb == "doctor":  # tells how much memory is free
        assert re.sub(r"\d+", "#", started.out) == re.sub(r"\d+", "#", here.out)
    else:
        assert started.out == here.out


def open_files(child: Process) -> set[str]:
    """What a process that works has open, but for its pipes."""
    assert child.stdout
    child.stdout.read(1)
    files = Path("/proc", str(child.pid), "fd").iterdir()
    names = {os.readlink(file) for file in files} - {os.devnull}
    return {n for n in names if not n.startswith("pipe:") and "copy-new" not in n}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_forked_program_holds_no_file_of_its_parent() -> None:
    found = []
    for fresh in (True, False):
        with begun("chat", "--once", "a", script=AT_WORK, fresh=fresh) as child:
            assert isinstance(child, Forked) != fresh
            found.append(open_files(child))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["PYTHONWARNINGS", "LC_ALL", "TEXTUAL_FPS"])
def test_an_interpreter_starts_where_the_environment_sets_it_up(name: str) -> None:
    for env in ({name: "30"}, {"LMTUI_SEED": "1"}):
        with begun("help", env=env) as child:
            assert isinstance(child, Forked) == (name not in env)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_forked_program_ends_as_a_started_one(number: signal.Signals) -> None:
    codes = []
    for fresh in (True, False):
        with begun("chat", "--once", "a", script=AT_WORK, fresh=fresh) as child:
            assert child.stdout
            child.stdout.read(1)
            assert child.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=0)
            child.send_signal(number)
            child.stdout.read()
            codes.append(child.wait(timeout=60))
            child.send_signal(number)  # to no one
    assert codes[0] == codes[1] != 0

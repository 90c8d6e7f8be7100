"""A forked program is what a started one is."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmtui.cli.main import VERBS
from tests.cli.forked import Forked
from tests.cli.program import Process, begun, run

CALLS = {
    "chat": ["chat", "--once", "a"],
    "complete": ["complete", "-", "--print"],
    "inspect": ["inspect", "-", "--json"],
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
STATUS = re.compile(r"^(Sig(?:Blk|Ign|Cgt)|Threads|TracerPid|Umask):\s*(.*)", re.M)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_says_the_same_in_a_fresh_interpreter(
    verb: str, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("a note")
    arguments = [each.replace("NOTES", str(tmp_path)) for each in CALLS[verb]]
    script = {"engine": {"answers": ["It is Paris."]}}
    started, forked = (
        run(*arguments, script=script, stdin="Hello", fresh=fresh)
        for fresh in (True, False)
    )
    assert (started.code, started.err) == (forked.code, forked.err)
    if verb == "doctor":  # tells how much memory is free
        assert re.sub(r"\d+", "#", started.out) == re.sub(r"\d+", "#", forked.out)
    else:
        assert started.out == forked.out


@pytest.fixture
def unusual() -> Iterator[None]:
    """What a program is given by whoever starts it, not as usual."""
    mask, files = os.umask(0o027), resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, files[1]))
    yield
    os.umask(mask)
    resource.setrlimit(resource.RLIMIT_FSIZE, files)
    signal.signal(signal.SIGHUP, before)


def facts(child: Process) -> list[object]:
    """What the system knows of a process that works."""
    assert child.stdout
    child.stdout.read(1)
    proc = Path("/proc", str(child.pid))
    open_files = {int(each.name): os.readlink(each) for each in (proc / "fd").iterdir()}
    return [
        STATUS.findall((proc / "status").read_text()),
        sorted(open_files),
        {k: v for k, v in open_files.items() if not v.startswith("pipe:")},
        os.getpgid(child.pid),
        os.getsid(child.pid),
        os.readlink(proc / "cwd"),
        os.sched_getaffinity(child.pid),
        (proc / "limits").read_text(),
    ]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_system_sees_no_difference(unusual: None) -> None:
    found = []
    for fresh in (True, False):
        with begun("chat", "--once", "a", script=AT_WORK, fresh=fresh) as child:
            assert isinstance(child, Forked) != fresh
            found.append(facts(child))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["PYTHONWARNINGS", "LC_ALL", "TEXTUAL_FPS"])
def test_an_interpreter_starts_where_the_environment_sets_it_up(name: str) -> None:
    for env in ({name: "30"}, {"LMTUI_SEED": "1"}):
        with begun("help", env=env) as child:
            assert isinstance(child, Forked) == (name not in env)


def test_a_forked_program_ends_as_a_started_one() -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
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

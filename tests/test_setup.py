"""`scripts/setup.sh` makes the environment once, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = (  # all that the scripts may use beside bash
    *(
        "bash",
        "cat",
        "chmod",
        "cmp",
        "cp",
        "dirname",
        "find",
        "mkdir",
        "mv",
        "readlink",
    ),
    *("rm", "touch"),
)

# Python, that of .venv too: makes environments, "installs" packages, runs lmtui. All
# else, such as the lock, is for the real one.
PYTHON = """#!/bin/bash
case "$*" in
*"-m venv "*) made ;;
*"-m pip install "*) installed pip "$@" ;;
*"-m lmtui") echo started; [ ! -e /dev/fd/9 ] || echo "with the lock" ;;
*) exec "$REAL_PYTHON" "$@" ;;
esac
"""
UV = """#!/bin/bash
case "$1" in
venv) made ;;
pip)
    "$REAL_PYTHON" -c "$UV_LOCK" "$VENV/.lock" || exit 1
    installed "uv[$UV_TORCH_BACKEND][$UV_DEFAULT_INDEX]" "$@"
    ;;
esac
"""
# uv locks the environment too, and waits for five minutes where another has the lock.
UV_LOCK = """
import fcntl, sys
fcntl.flock(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
# An environment's Python.
MADE = """#!/bin/bash
mkdir -p "$VENV/bin" && cp "$BIN/python3" "$VENV/bin/python"
"""
# An installation: it leaves a package, waits where a test says so, and may fail.
INSTALLED = """#!/bin/bash
echo "$*" >>"$LOG"
touch "$VENV/package"
if [ -e "$GATE" ]; then
    trap 'exit 1' INT
    echo >"$BEGUN"
    cat "$GATE"
fi
case "$1" in $FAILS) echo "no such index"; exit 1 ;; esac >&2
"""


class Clone:
    """A fresh clone, with fake programs as all that is on PATH."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "clone", folder / "bin"
        self.venv, self.log = self.root / ".venv", folder / "log"
        self.gate, self.begun = folder / "gate", folder / "begun"
        (self.root / "tests").mkdir(parents=True)
        (self.root / "scripts").mkdir()
        for name in ("pyproject.toml", "tests/constraints.txt"):
            shutil.copy(ROOT / name, self.root / name)
        for name in ("scripts/lmtui", "scripts/setup.sh"):
            shutil.copy(ROOT / name, self.root / name)
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name, text in (
            ("python3", PYTHON),
            ("made", MADE),
            ("installed", INSTALLED),
        ):
            self.add(name, text)
        self.log.touch()
        os.mkfifo(self.begun)
        self.running: list[subprocess.Popen[str]] = []

    def add(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def close_gate(self) -> None:
        """Let installations wait from now on."""
        os.mkfifo(self.gate)

    def open_gate(self) -> None:
        """Let the installation that waits go on, and later ones not wait."""
        with self.gate.open("w"):
            self.gate.unlink()

    def await_installation(self) -> None:
        self.begun.read_text()

    def start(self, **variables: str) -> subprocess.Popen[str]:
        names = {"VENV": self.venv, "BIN": self.bin, "LOG": self.log}
        names |= {"GATE": self.gate, "BEGUN": self.begun, "REAL_PYTHON": sys.executable}
        names |= {"UV_LOCK": UV_LOCK}
        process = subprocess.Popen(
            [self.root / "scripts" / "lmtui"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: str(value) for key, value in names.items()}
            | {"PATH": str(self.bin), "FAILS": "none"}
            | variables,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def run(self, **variables: str) -> tuple[int, str, str]:
        return end(self.start(**variables))

    def installations(self) -> list[str]:
        """What each installation was begun with."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if " install " in line]


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit status and what it wrote."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path)
    yield clone
    for process in clone.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(params=["uv", "pip"])
def either(request: pytest.FixtureRequest, clone: Clone) -> Clone:
    """A clone on a machine with uv, and on one without."""
    if request.param == "uv":
        clone.add("uv", UV)
    return clone


def test_first_start_says_a_line_a_step_and_the_second_is_silent(
    either: Clone,
) -> None:
    status, out, err = either.run()
    assert (status, out) == (0, "started\n")
    environment, packages = err.splitlines()
    assert environment.startswith("setting up .venv: environment … ")
    assert packages.startswith("setting up .venv: packages")
    assert environment.endswith(" s") and packages.endswith(" s")
    assert either.run() == (0, "started\n", "")
    assert len(either.installations()) == 1


def test_changed_dependencies_are_installed(either: Clone) -> None:
    either.run()
    mine = either.venv / "mine"
    mine.touch()
    with (either.root / "pyproject.toml").open("a") as file:
        file.write("# another dependency")
    either.run()
    assert len(either.installations()) == 2
    assert mine.exists()


def test_two_starts_at_once_install_once(either: Clone) -> None:
    either.close_gate()
    first = either.start()
    either.await_installation()
    second = either.start()
    assert second.stderr is not None
    assert second.stderr.readline() == (
        "another start is setting up .venv: waiting for it …\n"
    )
    either.open_gate()
    assert end(first)[:2] == (0, "started\n")
    assert end(second) == (0, "started\n", "")
    assert len(either.installations()) == 1


def test_killed_setup_is_begun_anew(either: Clone) -> None:
    """All its processes are killed at once, as by closing a terminal."""
    either.close_gate()
    killed = either.start()
    either.await_installation()
    os.killpg(killed.pid, signal.SIGKILL)
    end(killed)
    half = either.venv / "half of a package"
    half.touch()
    either.gate.unlink()
    assert either.run()[:2] == (0, "started\n")
    assert not half.exists()
    assert len(either.installations()) == 2
    assert either.run() == (0, "started\n", "")


def test_installer_that_outlives_its_start_is_waited_for(either: Clone) -> None:
    either.close_gate()
    killed = either.start()
    either.await_installation()
    killed.kill()
    killed.wait()
    second = either.start()
    assert second.stderr is not None
    assert "waiting" in second.stderr.readline()
    either.open_gate()
    assert end(second)[:2] == (0, "started\n")
    assert len(either.installations()) == 2


def test_interrupt_ends_it_without_another_try(either: Clone) -> None:
    either.close_gate()
    interrupted = either.start()
    either.await_installation()
    os.killpg(interrupted.pid, signal.SIGINT)
    status, out, err = end(interrupted)
    assert (status, out) == (130, "")
    assert "error" not in err
    assert len(either.installations()) == 1
    either.gate.unlink()
    assert either.run()[:2] == (0, "started\n")


def test_interrupt_ends_a_start_that_waits(clone: Clone) -> None:
    clone.close_gate()
    first = clone.start()
    clone.await_installation()
    second = clone.start()
    assert second.stderr is not None
    second.stderr.readline()
    os.killpg(second.pid, signal.SIGINT)
    assert end(second) == (130, "", "\n")
    clone.open_gate()
    assert end(first)[:2] == (0, "started\n")


def test_environment_of_another_is_kept(clone: Clone) -> None:
    mine = clone.venv / "mine"
    mine.parent.mkdir()
    mine.touch()
    clone.run()
    assert mine.exists()


def test_uv_takes_the_cpu_build_of_torch(clone: Clone) -> None:
    clone.add("uv", UV)
    clone.run()
    (begun,) = clone.installations()
    assert begun.startswith("uv[cpu][] pip install ")


def test_uv_finds_the_build_for_an_nvidia_card(clone: Clone) -> None:
    clone.add("uv", UV)
    clone.add("nvidia-smi", "#!/bin/bash\n")
    clone.run()
    (begun,) = clone.installations()
    assert begun.startswith("uv[auto][] pip install ")


def test_uv_takes_the_plain_torch_where_there_is_no_cpu_build(clone: Clone) -> None:
    clone.add("uv", UV)
    status, out, err = clone.run(FAILS="uv?cpu*")
    assert (status, out) == (0, "started\n")
    _, first, second = err.splitlines()
    assert "torch backend cpu" in first and "failed after" in first
    assert "torch as the index has it" in second and second.endswith(" s")
    assert [line.split()[0] for line in clone.installations()] == [
        "uv[cpu][]",
        "uv[][]",
    ]


def test_torch_backend_of_the_user_is_the_only_one_tried(clone: Clone) -> None:
    clone.add("uv", UV)
    status, _, err = clone.run(UV_TORCH_BACKEND="cu130", FAILS="uv*")
    assert status == 2
    assert "no such index" in err and "error: the packages can't be installed" in err
    (begun,) = clone.installations()
    assert begun.startswith("uv[cu130][]")


@pytest.mark.parametrize(
    ("variables", "index"),
    [
        ({"PIP_INDEX_URL": "http://pip"}, "http://pip"),
        ({"PIP_INDEX_URL": "http://pip", "UV_INDEX_URL": "http://old"}, "http://old"),
        ({"PIP_INDEX_URL": "http://pip", "UV_DEFAULT_INDEX": "http://uv"}, "http://uv"),
    ],
)
def test_uv_uses_the_index_of_pip_where_it_has_none(
    variables: dict[str, str], index: str, clone: Clone
) -> None:
    clone.add("uv", UV)
    clone.run(**variables)
    (begun,) = clone.installations()
    assert begun.startswith(f"uv[cpu][{index}]")

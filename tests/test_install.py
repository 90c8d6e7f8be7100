"""The built wheel is the program: installed on its own, it answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lmtui` of a fresh environment that holds the wheel and sees, after it, the
    packages of this one."""
    work = tmp_path_factory.mktemp("install")
    source = work / "source"
    unwanted = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", work]
    subprocess.run([*build, source], check=True, capture_output=True)
    (wheel,) = work.glob("*.whl")
    venv.create(work / "env")
    bin_folder = work / "env" / "bin"
    pip = [sys.executable, "-m", "pip", "--python", bin_folder / "python"]
    subprocess.run(
        [*pip, "install", "--no-deps", wheel], check=True, capture_output=True
    )
    (packages,) = (work / "env").glob("lib/python*/site-packages")
    # Not a folder of .pth files, or this environment's own lmtui would be seen too.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return bin_folder / "lmtui"


def run(program: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed program far from the sources."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env=kept | {"LMTUI_HOME": str(home)},
    )


def test_installed_wheel_runs_on_its_own(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "--version", home=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("lmtui ")
    module = "import lmtui; print(lmtui.__file__)"
    where = subprocess.run(
        [installed.parent / "python", "-c", module],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert str(installed.parent.parent) in where.stdout


def test_installed_wheel_has_its_themes(installed: Path, tmp_path: Path) -> None:
    code = "from lmtui.tui.themes import load_themes; print(len(load_themes().themes))"
    done = subprocess.run(
        [installed.parent / "python", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert int(done.stdout) >= 4


def test_installed_wheel_has_the_text_of_the_course(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "from lmtui.learn.course import first_course; folder = first_course(); "
        "assert (folder / 'LICENSE.txt').is_file(); "
        "print((folder / 'text.txt').stat().st_size)"
    )
    done = subprocess.run(
        [installed.parent / "python", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert int(done.stdout) >= 300_000


@pytest.mark.real
def test_installed_wheel_answers_a_question(
    installed: Path, default_home: Path
) -> None:
    question = (
        "chat",
        "--once",
        "What is the capital of France?",
        "--temperature",
        "0",
    )
    done = run(installed, *question, home=default_home)
    assert done.stdout == "The capital of France is Paris.\n"

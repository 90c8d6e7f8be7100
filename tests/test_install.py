"""The built wheel is the program: installed on its own, it answers."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from lmtui.errors import LmtuiError
from lmtui.kernels import compiler, cpu_features

pytestmark = pytest.mark.timeout(900)  # kernels are compiled for four classes
ROOT = Path(__file__).parent.parent
QUESTION = "chat", "--once", "What is the capital of France?", "--temperature", "0"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lmtui` of a pure wheel; see `installed_in`."""
    return installed_in(tmp_path_factory.mktemp("install"))


@pytest.fixture(scope="module")
def installed_with_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lmtui` of a wheel that has kernels; see `installed_in`."""
    if compiler.compiler_id() is None or platform.machine() != "x86_64":
        pytest.skip("wheels with kernels are built by a compiler for x86-64")
    work = tmp_path_factory.mktemp("install_with_kernels")
    return installed_in(work, LMTUI_BUILD_KERNELS="1")


def installed_in(work: Path, **variables: str) -> Path:
    """The `lmtui` of a fresh environment that holds the wheel, built with some
    variables, and sees, after it, the packages of this one."""
    source = work / "source"
    unwanted = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copytree(ROOT, source, ignore=unwanted)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", work]
    environment = os.environ | variables
    subprocess.run([*build, source], check=True, capture_output=True, env=environment)
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


def run(
    program: Path, *arguments: str, home: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed program far from the sources, with some variables."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env=kept | {"LMTUI_HOME": str(home)},
    )


HOLDS = """
from importlib.metadata import requires
import lmtui
from lmtui.learn.course import FOLDER
from lmtui.tui.themes import load_themes
print(lmtui.__file__)
print(len(load_themes().themes) == 4)
print((FOLDER / "LICENSE.txt").is_file())
print((FOLDER / "text.txt").stat().st_size >= 300_000)
print(any(each.startswith("pip>") for each in requires("lmtui")))
"""


def test_installed_wheel_has_its_themes_the_course_and_pip(
    installed: Path, tmp_path: Path
) -> None:
    python = installed.with_name("python")
    place, *rest = run(python, "-c", HOLDS, home=tmp_path).stdout.splitlines()
    assert place.startswith(str(installed.parent.parent))
    assert rest == ["True"] * 4


@pytest.mark.real
def test_installed_wheel_answers_a_question(
    installed: Path, default_home: Path
) -> None:
    done = run(installed, *QUESTION, home=default_home)
    assert done.stdout == "The capital of France is Paris.\n"


def doctor(program: Path, home: Path, *before: str) -> dict[str, str]:
    """What `doctor`, after some arguments, says where there is no compiler."""
    asked = *before, "doctor", "--device", "cpu", "--json"
    done = run(program, *asked, home=home, CXX="no-such-compiler")
    said: dict[str, str] = json.loads(done.stdout)
    return said


def test_pure_wheel_needs_a_compiler(installed: Path, tmp_path: Path) -> None:
    said = doctor(installed, tmp_path)
    assert said["compiled"].startswith("nothing: there is no C++ compiler")
    assert "no C++ compiler" in said["path"]


@pytest.mark.parametrize("isa", ["", *(each.name for each in cpu_features.CLASSES)])
def test_wheel_with_kernels_needs_no_compiler(
    isa: str,
    installed_with_kernels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LMTUI_ISA", isa)
    try:
        name = cpu_features.instruction_class()
    except LmtuiError:
        pytest.skip("this processor lacks that class")
    said = doctor(installed_with_kernels, tmp_path)
    assert said["compiled"].startswith("in the package, for head dimensions 64, 80,")
    assert said["instructions"] == name
    assert said["path"].startswith("fast")


@pytest.mark.real
def test_wheel_with_kernels_answers_a_question(
    installed_with_kernels: Path, default_home: Path, tmp_path: Path
) -> None:
    file = next((default_home / "models").rglob("*.gguf"))
    asked = *QUESTION, "--model", str(file)
    done = run(installed_with_kernels, *asked, home=tmp_path, CXX="no-such-compiler")
    assert done.stdout == "The capital of France is Paris.\n"
    assert not (tmp_path / "cache" / "compiled").exists()
    assert [*(tmp_path / "cache" / "packed").iterdir()]  # its blocks are mapped


def test_damaged_library_of_a_wheel_is_not_used(
    installed_with_kernels: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "environment"
    shutil.copytree(installed_with_kernels.parent.parent, damaged, symlinks=True)
    (folder,) = damaged.glob("lib/python*/site-packages/lmtui/kernels/libraries")
    for file in folder.glob("*.so"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    said = doctor(damaged / "bin" / "python", tmp_path, "-m", "lmtui")
    assert said["compiled"].startswith("nothing: there is no C++ compiler")

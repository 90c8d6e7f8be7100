"""What was compiled is opened only where nobody else can have written it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lmtui import paths
from lmtui.kernels import build, compiler, cpu_features

NOBODY = 65534


def others(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(place, NOBODY, NOBODY)


def planted(folder: Path) -> None:
    (folder / "made.so").write_bytes(b"something")


def linked(folder: Path) -> None:
    (folder / "made.so").rename(folder.parent / "elsewhere.so")
    (folder / "made.so").symlink_to(folder.parent / "elsewhere.so")


HARMS: dict[str, Callable[[Path], object]] = {
    "another library": planted,
    "a library too many": lambda folder: (folder / "more.so").write_bytes(b""),
    "a link": linked,
    "a folder of others": others,
    "a file of others": lambda folder: others(folder / "made.so"),
    "a folder that a group can write": lambda folder: folder.chmod(0o775),
    "a file that all can write": lambda folder: (folder / "made.so").chmod(0o646),
    "no digests": lambda folder: (folder / "digests.json").unlink(),
}


@pytest.fixture
def kept(home: Path) -> Path:
    folder = build.folder_of([64])
    with paths.scratch_folder(paths.ensure_folder(build.root())) as scratch:
        (scratch / "made.so").write_bytes(b"a library")
        build.store(scratch, folder, source="a test")
    assert build.is_usable(folder)
    return folder


def test_files_compiled_by_another_processor_are_left_alone(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(cpu_features, "instructions", lambda: "others")
        assert not build.is_usable(kept)
        other = build.folder_of([64])
        with paths.scratch_folder(build.root()) as scratch:
            (scratch / "made.so").write_bytes(b"another library")
            build.store(scratch, other, source="a test")
        assert build.is_usable(other)
    assert build.is_usable(kept)


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_files_that_others_can_have_written_are_not_usable(
    harm: Callable[[Path], object], kept: Path
) -> None:
    harm(kept)
    assert not build.is_usable(kept)


def test_root_folder_loses_write_permission_for_others(kept: Path) -> None:
    build.root().chmod(0o777)
    assert build.is_usable(kept)
    assert build.root().stat().st_mode & 0o022 == 0
    others(build.root())
    assert not build.is_usable(kept)


def test_compiler_leaves_the_processor_to_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    polite = tmp_path / "c++"
    polite.write_text(f"#!/bin/sh\nnice > {tmp_path}/niceness\nexit 1\n")
    polite.chmod(0o755)
    monkeypatch.setenv("CXX", str(polite))
    with pytest.raises(RuntimeError, match="failed"):
        compiler.compile_library(tmp_path / "kernels.so", [64], [])
    assert int((tmp_path / "niceness").read_text()) > os.nice(0)

"""Large files that are not in memory are read before their use, with a bar."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmtui.models import page_cache
from lmtui.models.progress import Progress


@pytest.fixture
def cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of which nothing is in memory."""
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("files can't be taken out of memory here")
    monkeypatch.setattr(page_cache, "_FEW", 100_000)
    monkeypatch.setattr(page_cache, "_CHUNK", 1 << 18)
    file = tmp_path / "weights"
    with file.open("wb") as opened:
        opened.write(bytes(1_000_000))
        opened.flush()
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if page_cache._missing(file) < 900_000:
        pytest.skip("this file system keeps its files in memory")
    return file


def test_missing_pages_are_read_and_told(cold: Path) -> None:
    told: list[Progress] = []
    page_cache.read_ahead([cold], "it", told.append)
    assert [each.done for each in told] == [0, 1 << 18, 2 << 18, 3 << 18]
    assert {each.total for each in told} == {1_000_000}
    assert page_cache._missing(cold) == 0
    told.clear()
    page_cache.read_ahead([cold], "it", told.append)
    assert told == []


def test_file_that_is_not_there_is_left_to_its_reader(tmp_path: Path) -> None:
    page_cache.read_ahead([tmp_path / "none"], "it", lambda _: pytest.fail("told"))

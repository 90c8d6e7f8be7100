"""Files that go along with a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.chat.attaching import LARGEST, attached, names_files
from lmtui.errors import LmtuiError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("one\n")
    (tmp_path / "notebook.md").write_text("```\ncode\n```")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "deep.txt").write_text("deep")
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


def test_a_file_is_quoted_below_the_message() -> None:
    assert attached("Read @notes.md please") == (
        "Read @notes.md please\n\nnotes.md:\n```\none\n```"
    )


def test_a_file_is_quoted_once_and_its_fences_stay_inside() -> None:
    text = attached("@notebook.md, and again @notebook.md!")
    assert text.count("notebook.md:") == 1
    assert text.endswith("notebook.md:\n````\n```\ncode\n```\n````")


def test_a_name_of_nothing_is_a_word(here: Path) -> None:
    for text in ("@alice said", "a@notes.md", "@folder", "@", f"@{'x' * 5000}"):
        assert attached(text) == text
    assert not names_files("mail a@b.c") and names_files("@b")
    assert "deep" in attached(f"@{here}/folder/deep.txt")


def test_what_cannot_be_read_is_said(here: Path) -> None:
    (here / "picture").write_bytes(b"\0\1")
    with pytest.raises(LmtuiError, match="binary"):
        attached("@picture")
    (here / "long").write_bytes(b"a" * (LARGEST + 1))
    with pytest.raises(LmtuiError, match="too long"):
        attached("@long")

"""The handout of the program's own course, with the real default model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lmtui.cli.main import main
from lmtui.learn import course as course_module
from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from tests.learn.handout.tree import CONTROLS, digest, policy_of, read

pytestmark = pytest.mark.real


@pytest.fixture
def brief_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The course, with a training of few steps instead of a minute."""
    folder = shutil.copytree(first_course(), tmp_path / "first")
    page = folder / "09-training.md"
    text = page.read_text("utf-8")
    assert text.count("\n```scratch\n") == 1
    page.write_text(text.replace("```scratch", "```scratch\nsteps: 12"), "utf-8")
    monkeypatch.setattr(course_module, "first_course", lambda: folder)
    return folder


def test_every_page_has_its_numbers(
    brief_course: Path,
    default_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    assert main(["learn", "--html", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    course = read_course(brief_course, INSTRUMENTS)
    progress = [
        f"page {number} of {len(course.pages)}: {page.title}"
        for number, page in enumerate(course.pages, 1)
    ]
    assert said.out == ""
    assert [line for line in said.err.splitlines() if line[:4] in ("page", "warn")] == (
        progress
    )
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == len(course.pages) + 1
    for file in files:
        source = file.read_text("utf-8")
        page = read(source)
        assert not CONTROLS.search(source) and "://" not in source
        assert policy_of(page)["style-src"] == digest(page.one("style").text)
        if file.name != "index.html":
            figures = page.all("section", "figure")
            assert figures and any(char.isdigit() for char in figures[-1].text)
            assert "could not do all of this page" not in page.text

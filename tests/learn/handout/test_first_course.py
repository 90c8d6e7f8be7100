"""The handout of the program's own course, with the real default model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmtui.learn.course import first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from tests.learn.handout.tree import CONTROLS, digest, policy_of, read

pytestmark = pytest.mark.real


def test_every_page_has_its_numbers(default_home: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lmtui", "learn", "--html", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"LMTUI_HOME": str(default_home)},
    )
    course = read_course(first_course(), INSTRUMENTS)
    progress = [
        f"page {number} of {len(course.pages)}: {page.title}"
        for number, page in enumerate(course.pages, 1)
    ]
    assert done.stdout == ""
    assert [
        line for line in done.stderr.splitlines() if line[:4] in ("page", "warn")
    ] == (progress)
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

"""`lmtui help learn`: its example of a course can be used as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from lmtui.cli.help import topics
from lmtui.errors import LmtuiError
from lmtui.learn.course import read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from tests.learn.courses import write_course

TOPIC = topics()["learn"].read_text("utf-8")


def example() -> str:
    found = re.search(r"^  # .*?(?=^\S)", TOPIC, re.MULTILINE | re.DOTALL)
    assert found
    return textwrap.dedent(found[0])


def test_example_of_a_page_is_a_page(tmp_path: Path) -> None:
    about = re.search(r'title = ".*?"', TOPIC)
    assert about
    files = {"01-name.md": example(), "course.toml": about[0], "text.txt": "A text."}
    folder = write_course(tmp_path / "c", files)
    (folder / "01-a-page.md").unlink()
    (page,) = read_course(folder, INSTRUMENTS).pages
    assert page.title == "One promise"
    assert [exercise.id for exercise in page.exercises] == ["typed", "word"]
    assert page.before and page.after


@pytest.mark.parametrize(
    ("slip", "known"),
    [
        (("```bars", "```x"), list(INSTRUMENTS)),
        (("word: banana", "x: 1"), ["text", "rows", "word"]),
        (("- typed: Write", "- x: y"), ["typed: the text was changed", "sure: a text"]),
    ],
)
def test_names_that_are_not_known_get_those_that_are(
    tmp_path: Path, slip: tuple[str, str], known: list[str]
) -> None:
    folder = write_course(tmp_path / "c", {"01-a-page.md": example().replace(*slip)})
    with pytest.raises(LmtuiError) as refused:
        read_course(folder, INSTRUMENTS)
    assert "01-a-page.md, line " in refused.value.detail
    assert all(name in refused.value.hint for name in known)

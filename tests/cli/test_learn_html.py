"""`lmtui learn --html`: whole pages in a folder, or an error with a hint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.program import Result, run
from tests.learn.courses import PAGE, write_course
from tests.learn.handout.tree import read

SECOND = PAGE.replace("# A page", "# Second").replace("- typed", "word: three\n- typed")


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of two pages; the model scores a text for the second one only."""
    return write_course(
        tmp_path / "course",
        {
            "01-a-page.md": PAGE.replace("text: one two", "text: one"),
            "02-second.md": SECOND,
            "course.toml": 'title = "A course"\ntext = "t.txt"\ntext-name = "Words"\n',
            "t.txt": "A text.",
            "glossary.md": "**a term**: its meaning.\n",
        },
    )


def html(course: Path, out: Path, *arguments: str, **options: object) -> Result:
    given = ("learn", str(course), *arguments, "--html", str(out))
    return run(*given, **options)  # type: ignore[arg-type]


def test_whole_course_is_written_with_a_line_a_page(
    course: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    done = html(course, out)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "page 1 of 2: A page",
        "page 2 of 2: Second",
        f"wrote {out / 'index.html'}",
    ]
    names = ["01-a-page.html", "02-second.html", "index.html"]
    assert sorted(os.listdir(out)) == names
    pages = [read((out / name).read_text("utf-8")) for name in names]
    assert [page.one("h1").text for page in pages] == ["A page", "Second", "A course"]
    assert pages[2].one("p", "about").text == (
        "Numbers of fake (exact, float32) · text: Words"
    )
    wide = pages[1].all("pre", "wide")
    titles = [title.text for pre in wide for title in pre.all("span", "title")]
    assert titles == ["After “one two”", "After “one two three”"]
    plain = run("learn", "--plain", str(course), "2", stdin="one two three\n").out
    for lines in pages[1].all("details", "lines"):
        assert lines.one("pre").text in plain
    assert str(tmp_path) not in (out / "index.html").read_text("utf-8")
    # The learner's progress stays as it was.
    assert "- to do: Write" in run("learn", "--plain", str(course), "1").out


def test_own_text_is_named_without_its_folder(course: Path, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("These are the words that I wrote myself.")
    done = html(course, tmp_path / "out", "--text", str(text))
    assert done.code == 0
    page = (tmp_path / "out" / "02-second.html").read_text("utf-8")
    assert "text: mine.txt" in page
    wide = read(page).all("pre", "wide")
    titles = [title.text for pre in wide for title in pre.all("span", "title")]
    assert [title.rpartition("myself.")[2] for title in titles] == ["”", " three”"]
    assert str(tmp_path) not in page


def test_other_files_stay_and_old_pages_are_replaced(
    course: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("index.html", "notes.txt"):
        (out / name).write_text("before")
    assert html(course, out).code == 0
    assert (out / "notes.txt").read_text() == "before"
    assert (out / "index.html").read_text("utf-8").startswith("<!doctype html>")
    assert len(os.listdir(out)) == 4


def test_ctrl_c_leaves_whole_pages_only(course: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = html(course, out, script={"interrupt": 1})
    assert (done.code, done.out) == (130, "")
    assert done.err == "page 1 of 2: A page\npage 2 of 2: Second\n"
    assert os.listdir(out) == ["01-a-page.html"]
    read((out / "01-a-page.html").read_text("utf-8"))


def test_folder_that_can_not_be_written_is_refused_before_a_model_loads(
    course: Path, tmp_path: Path
) -> None:
    script = {"missing": "it must not be asked for"}
    file = tmp_path / "file"
    file.write_text("mine")
    sealed = tmp_path / "sealed"
    sealed.mkdir(0o500)
    refused = {file: "it is a file", file / "in": "is a file"}
    if os.geteuid():
        refused[sealed / "in"] = "read-only"
    one = html(course, tmp_path / "out", "second", script=script)
    assert "--html writes all pages: second" in one.err
    for out, why in refused.items():
        done = html(course, out, script=script)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: the pages can't be written: {out}: ")
        assert why in done.err and "\nhint: Name a" in done.err
    assert file.read_text() == "mine"


def test_folder_in_the_way_of_a_page_is_an_error(course: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "02-second.html" / "mine").mkdir(parents=True)
    done = html(course, out)
    assert done.code == 2
    assert f"the pages can't be written: {out}/02-second.html: " in done.err
    assert sorted(os.listdir(out)) == ["01-a-page.html", "02-second.html"]

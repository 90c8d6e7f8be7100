"""A learner's progress: ticked once, saved at once, and never in the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from lmtui import paths
from lmtui.learn.course import Course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.lesson import Lesson
from tests.learn.courses import PAGE, write_course


@pytest.fixture
def course(tmp_path: Path, home: Path) -> Course:
    folder = write_course(tmp_path / "c", {"02-more.md": PAGE})
    return read_course(INSTRUMENTS, folder)


def test_exercise_is_ticked_once_and_saved(course: Course) -> None:
    lesson = Lesson(course, INSTRUMENTS)
    lesson.instrument.done.add("sure")  # which the page does not ask for
    assert not lesson.note()
    lesson.instrument.done.add("typed")
    assert lesson.note()
    assert not lesson.note()
    assert lesson.is_complete(lesson.page)
    again = Lesson(course, INSTRUMENTS)
    assert again.is_done("typed")
    assert not again.is_complete(course.pages[1])


def test_lesson_goes_on_at_the_page_that_was_open(course: Course) -> None:
    lesson = Lesson(course, INSTRUMENTS)
    assert lesson.move_to(1)
    assert not lesson.move_to(2)
    assert not lesson.move_to(-1)
    assert Lesson(course, INSTRUMENTS).number == 1
    assert Lesson(course, INSTRUMENTS, start=0).number == 0


def test_instrument_stays_as_it_was_left(course: Course) -> None:
    lesson = Lesson(course, INSTRUMENTS)
    first = lesson.instrument
    lesson.move_to(1)
    assert lesson.instrument is not first
    lesson.move_to(0)
    assert lesson.instrument is first
    lesson.forget()
    assert lesson.instrument is not first


@pytest.mark.parametrize(
    "broken",
    ["", "{", "[1]", '{"x": 1}', '{"done": {"a-page": 1}}'],
)
def test_broken_progress_counts_as_none(course: Course, broken: str) -> None:
    paths.ensure_folder(paths.state_folder())
    file = paths.state_folder() / "learn.json"
    file.write_text(broken)
    lesson = Lesson(course, INSTRUMENTS)
    assert lesson.number == 0
    assert not lesson.is_done("typed")
    lesson.instrument.done.add("typed")
    lesson.note()
    assert Lesson(course, INSTRUMENTS).is_done("typed")


def test_unwritable_state_is_no_error(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(paths, "write_atomically", fail)
    lesson = Lesson(course, INSTRUMENTS)
    lesson.instrument.done.add("typed")
    assert lesson.note()
    assert lesson.is_done("typed")


def test_two_windows_keep_what_each_has_done(course: Course) -> None:
    first, second = Lesson(course, INSTRUMENTS), Lesson(course, INSTRUMENTS, start=1)
    first.instrument.done.add("typed")
    first.note()
    second.instrument.done.add("typed")
    second.note()
    assert second.is_complete(course.pages[0])  # as the file says by now
    first.move_to(1)
    again = Lesson(course, INSTRUMENTS)
    assert all(again.is_complete(page) for page in course.pages)


def test_windows_that_save_at_once_lose_nothing(tmp_path: Path, home: Path) -> None:
    pages = {f"{number:02}-p{number}.md": PAGE for number in range(2, 22)}
    course = read_course(INSTRUMENTS, write_course(tmp_path / "c", pages))
    begin = Barrier(len(course.pages))

    def do(number: int) -> None:
        lesson = Lesson(course, INSTRUMENTS, start=number)
        lesson.instrument.done.add("typed")
        begin.wait(20)
        lesson.note()

    with ThreadPoolExecutor(len(course.pages)) as windows:
        list(windows.map(do, range(len(course.pages))))
    again = Lesson(course, INSTRUMENTS)
    assert all(again.is_complete(page) for page in course.pages)

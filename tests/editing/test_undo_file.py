"""Undo histories on disk: whole and fitting, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmtui.editing import undo_file
from lmtui.editing.text_file import TextFile, load
from lmtui.editing.undo_file import UndoEdit, UndoStep, leads_to, read, write

WORDS = st.text("ab\n漢\ud800", max_size=5)


def edited(text: str, start: int, end: int, by: str) -> tuple[str, UndoEdit]:
    """A text with another one in place of a stretch, and that as an edit."""

    def location(index: int) -> tuple[int, int]:
        before = text[:index].split("\n")
        return len(before) - 1, len(before[-1])

    edit = UndoEdit(location(start), text[start:end], by, (location(end), location(0)))
    return text[:start] + by + text[end:], edit


@st.composite
def sessions(draw: st.DrawFn) -> tuple[str, list[UndoStep]]:
    """A text, and the steps that led to it."""
    text, steps = draw(WORDS), []
    for size in draw(st.lists(st.integers(1, 3), max_size=5)):
        step = []
        for _ in range(size):
            ends = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
            text, edit = edited(text, ends[0], ends[1], draw(WORDS))
            step.append(edit)
        steps.append(tuple(step))
    return text, steps


@pytest.fixture
def file(home: Path, tmp_path: Path) -> TextFile:
    """A file, and the history that led to it is STEPS."""
    (tmp_path / "a.txt").write_text("ab")
    return load(tmp_path / "a.txt")


STEPS: list[UndoStep] = [
    (UndoEdit((0, 0), "", "a", ((0, 0), (0, 0))),),
    (UndoEdit((0, 1), "", "b", ((0, 1), (0, 1))),),
]


def histories(home: Path) -> list[Path]:
    """All histories that are there."""
    return sorted((home / "state" / "undo").iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sessions())
def test_history_is_read_as_it_was_written(
    home: Path, tmp_path: Path, session: tuple[str, list[UndoStep]]
) -> None:
    text, steps = session
    path = tmp_path / "a.txt"
    path.write_text(text.replace("\ud800", "?"), "utf-8")
    file = load(path)
    fits = leads_to(steps, file.text)
    assert fits or "\ud800" in text + str(steps)
    write(file, steps)
    assert list(read(file)) == (steps if fits else [])


@given(sessions(), WORDS)
def test_steps_lead_to_their_text_alone(
    session: tuple[str, list[UndoStep]], other: str
) -> None:
    text, steps = session
    assert leads_to(steps, text)
    last = [edit for step in steps for edit in step][-1:]
    if last and last[0].text and last[0].text not in other:
        assert not leads_to(steps, other)


def test_history_is_private_and_of_one_content(home: Path, file: TextFile) -> None:
    assert read(file) == ()
    write(file, STEPS)
    (history,) = histories(home)
    assert history.stat().st_mode & 0o777 == 0o600
    assert list(read(file)) == STEPS
    file.path.write_text("ab ")
    assert read(load(file.path)) == ()
    file.path.write_text("ab")
    assert list(read(load(file.path))) == STEPS


def test_damaged_history_is_none(home: Path, file: TextFile) -> None:
    write(file, STEPS)
    (history,) = histories(home)
    data = history.read_bytes()
    for damaged in (
        data[:-1], data[:20], b"", b"\n", b"[" * 100_000, data.replace(b'"a"', b'"c"'),
        b"{}\n", bytes(100), data.replace(b"digest", b"digests"),
    ):  # fmt: skip
        history.write_bytes(damaged)
        assert read(file) == ()


@pytest.mark.parametrize(
    "step",
    [
        [[[0, 1], "", "x", [[0, 1], [0, 1]]]],
        [[[5, 0], "", "", [[0, 0], [0, 0]]]],
        [[[-1, 0], "", "", [[0, 0], [0, 0]]]],
        [[[0, 1], "", "b", [[0, 9], [0, 0]]]],
        [[[0, 1], 5, "b", [[0, 0], [0, 0]]]],
        [[[0], "", "b", [[0, 0], [0, 0]]]],
        [7],
    ],
)
def test_history_that_does_not_fit_the_text_is_none(
    file: TextFile, monkeypatch: pytest.MonkeyPatch, step: object
) -> None:
    dumps = json.dumps

    def other(value: object, **options: object) -> str:
        return dumps([step] if isinstance(value, list) else value)

    monkeypatch.setattr(undo_file.json, "dumps", other)
    write(file, [])
    monkeypatch.undo()
    assert read(file) == ()


def test_history_holds_the_latest_steps_within_its_bounds(
    home: Path, file: TextFile
) -> None:
    def typed(size: int) -> UndoStep:
        return (UndoEdit((0, 0), "x" * size, "", ((0, 0), (0, 0))),)

    write(file, [typed(0)] * 300 + STEPS)
    assert list(read(file)) == ([typed(0)] * 300 + STEPS)[-undo_file.MOST_STEPS :]
    write(file, [typed(1), typed(950_000), typed(99_000), *STEPS])
    assert list(read(file)) == [typed(99_000), *STEPS]
    (history,) = histories(home)
    assert history.stat().st_size < undo_file.MOST_BYTES + 1000


def test_histories_are_bounded_in_number(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undo_file, "_MOST_FILES", 3)
    for number in range(5):
        path = tmp_path / f"{number}.txt"
        path.write_text("ab")
        write(load(path), STEPS)
    assert len(histories(home)) == 3


def test_history_needs_no_writable_home(
    file: TextFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", "/proc/lmtui")
    write(file, STEPS)
    assert read(file) == ()

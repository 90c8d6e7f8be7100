"""The folder of a training: which checkpoints count, what its events come to, names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train import run_folder
from lmtui.train.events import (
    Doing,
    End,
    Eval,
    Event,
    Failed,
    Saved,
    Skip,
    Start,
    Step,
    read_events,
    to_json,
)
from lmtui.train.request import TrainRequest, default_name, safe_name
from lmtui.train.run_folder import Manifest, RunFolder
from lmtui.train.settings import TrainSettings


@pytest.fixture
def run(home: Path) -> RunFolder:
    folder = RunFolder.named("notes")
    folder.write(folder.request_file, TrainRequest("notes", ("/notes",)))
    return folder


def checkpoint(run: RunFolder, step: int) -> Path:
    folder = run.checkpoint(step)
    folder.mkdir(parents=True)
    return folder


def step(number: int) -> Step:
    return Step(number, 0.1, 3.0 - number / 10, 1e-4, 0.5, 100, 50.0, 9.0, 7)


def tell(run: RunFolder, *events: Event, torn: str = "") -> None:
    lines = "".join(to_json(event) + "\n" for event in events)
    with run.events_file.open("a", encoding="utf-8") as file:
        file.write(lines + torn)


def told(run: RunFolder) -> list[Event]:
    return read_events(run.events_file.read_bytes().split(b"\n"))


def test_a_request_is_read_as_it_was_written(run: RunFolder) -> None:
    request = TrainRequest(
        "notes",
        ("/notes", "/more\udcff/*.md"),
        base="tiny",
        settings=TrainSettings(method="scratch", lr=0.01, layers=2, strict=True),
        threads=3,
        force=True,
        overwrite=True,
        versions={"torch": "2"},
    )
    run.write(run.request_file, request)
    assert run.read_request() == request
    # That of another version, without its unknown keys.
    text = '{"name": "n", "places": ["/x"], "new": 1, "settings": {"rank": 4, "x": 2}}'
    run.request_file.write_text(text)
    known = TrainRequest("n", ("/x",), settings=TrainSettings(rank=4))
    assert run.read_request() == known


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "n", "places": 3}', "\x00"])
def test_broken_request_is_refused_with_a_hint(run: RunFolder, text: str) -> None:
    (run.path / "request.json").write_text(text)
    with pytest.raises(LmtuiError, match="can't be resumed") as caught:
        run.read_request()
    assert "--overwrite" in caught.value.hint
    assert str(run.request_file) in caught.value.detail


def test_error_of_a_record_names_the_field_that_is_wrong(run: RunFolder) -> None:
    run.request_file.write_text(
        '{"name": "n", "places": [], "settings": {"rank": "many"}}'
    )
    with pytest.raises(LmtuiError) as caught:
        run.read_request()
    assert "request.json: settings.rank: " in caught.value.detail


def test_manifest_lists_changed_gone_and_new_notes(run: RunFolder) -> None:
    before = Manifest("/notes", {"a": "1", "b": "2", "c": "3"}, 3, ("b",))
    assert run.read_manifest() is None
    run.write(run.manifest_file, before)
    assert run.read_manifest() == before
    after = Manifest("/notes", {"a": "1", "b": "5", "d": "4"}, 3, ("b",))
    assert before.changes(after) == ("changed: b", "gone: c", "new: d")
    assert before.changes(before) == ()
    (run.path / "manifest.json").write_text("{")
    assert run.read_manifest() is None


def test_checkpoints_are_the_folders_that_have_a_step(run: RunFolder) -> None:
    assert run.last_checkpoint is None
    checkpoint(run, 10)
    checkpoint(run, 9)
    (run.checkpoints_folder / ".scratch-1-x" / "new").mkdir(parents=True)
    (run.checkpoints_folder / "checkpoint-x").mkdir()
    run.checkpoint(11).write_text("a file")
    assert run.checkpoints() == (9, 10)
    assert run.last_checkpoint == 10


def test_history_ends_at_the_last_checkpoint(run: RunFolder) -> None:
    checkpoint(run, 2)
    first = (Skip("a", "binary"), Start("notes", 9), Eval(0, 3.0, 20.0, 1.0, True))
    kept = (step(1), step(2), Saved(2))
    tell(run, *first, Doing("reading"), *kept, step(3), Failed("a", "b", "c"))
    tell(run, End("failed", 3), torn='{"event": "step"')
    assert run.history() == [*first, *kept]


def test_history_drops_steps_that_a_resumption_repeats(run: RunFolder) -> None:
    checkpoint(run, 4)
    tell(run, Start("notes", 9), step(1), step(2), step(3), End("stopped", 3))
    tell(run, Start("notes", 9, 1), step(2), Eval(2, 1.0, 2.0, 1.0, True), step(3))
    tell(run, Start("notes", 9, 2), step(3), step(4), step(5))
    assert [event.step for event in run.history() if isinstance(event, Step)] == [
        *(1, 2, 3, 4)
    ]
    assert len([event for event in run.history() if isinstance(event, Eval)]) == 1


def test_unfinished_event_line_is_removed(run: RunFolder) -> None:
    tell(run, step(1), torn='{"event": "st')
    with run.new_events() as events:
        assert events.read() == b""
        tell(run, step(2))
        assert read_events([events.read()]) == [step(2)]
    assert told(run) == [step(1), step(2)]


def test_running_training_locks_its_folder(run: RunFolder) -> None:
    assert not run.in_use
    with run.locked():
        assert run.in_use
        with pytest.raises(LmtuiError, match="running already"), run.locked():
            pass
        assert run.in_use
    assert not run.in_use


def test_unfinished_lists_trainings_that_can_be_resumed(run: RunFolder) -> None:
    def names() -> list[str]:
        return [folder.name for folder in run_folder.unfinished()]

    assert names() == []
    other = RunFolder.named("other")
    for folder in (run, other, RunFolder.named(".scratch-1-x")):
        checkpoint(folder, 1)
    assert names() == ["notes", "other"]
    with other.locked():
        assert names() == ["notes"]
    run.remove()
    run.remove()
    assert names() == ["other"]


def test_events_survive_control_characters_in_a_text(run: RunFolder) -> None:
    event = Skip("a\u2028b\x85c\udcff\n", "\x9b31m")
    tell(run, event)
    assert told(run) == [event]
    assert "\x9b" not in run.events_file.read_text()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("notes", "notes"),
        ("My Notes (2024)", "My-Notes-2024"),
        ("日記", "日記"),
        ("../../etc", "etc"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("a\nb\x1b[2J", "a-b-2J"),
        ("...", "notes"),
        ("", "notes"),
        ("x" * 300, "x" * 80),
    ],
)
def test_safe_name_replaces_unsafe_characters(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(some.text())
def test_a_safe_name_is_a_folder_of_its_own(text: str) -> None:
    name = safe_name(text)
    assert safe_name(name) == name
    assert Path("/runs", name).parent == Path("/runs")
    assert name not in ("", ".", "..")
    assert len(name.encode()) <= 80


def test_default_name_comes_from_the_first_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "My Diary.d"
    (folder / "deep").mkdir(parents=True)
    (folder / "day.one.md").write_text("x")
    (folder / "a[1].md").write_text("x")
    monkeypatch.chdir(folder)
    assert default_name([str(folder), "other"]) == "My-Diary.d"
    assert default_name(["."]) == "My-Diary.d"
    assert default_name(["deep/.."]) == "My-Diary.d"
    assert default_name(["day.one.md"]) == "day.one"
    assert default_name(["*.md"]) == "My-Diary.d"
    assert default_name(["*/more/x.md"]) == "My-Diary.d"
    assert default_name(["a[1].md"]) == "a-1"
    assert default_name(["/"]) == "notes"


def test_absolute_path_resolves_relative_and_home_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.expanded("a/*.md") == tmp_path / "a" / "*.md"
    assert paths.expanded("~/notes") == Path("/home/me/notes")
    assert paths.expanded("~nobody-of-this-name/x").name == "x"

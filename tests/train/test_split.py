"""The held-out part: never trained on, stable, and honest about too few notes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.types import ChatTurn
from lmtui.train.notes import Completion, Content, Notes, NotesDocument
from lmtui.train.settings import TrainSettings
from lmtui.train.split import NOTHING_HELD_OUT, TOO_LITTLE_TEXT, SplitNotes, split

DEFAULT = TrainSettings()
LONG = "A sentence of the usual kind, long enough for either side of it. "

names = st.lists(st.text("ab/.é", min_size=1, max_size=6), unique=True, max_size=60)
shares = st.sampled_from([0.01, 0.1, 0.3, 0.9])
seeds = st.integers(-3, 3)


def notes_of(*documents: NotesDocument) -> Notes:
    return Notes(Path("/notes"), (), documents, ())


def files(paths: list[str]) -> Notes:
    return notes_of(*(NotesDocument(path, LONG + path) for path in sorted(paths)))


def rows(*texts: str, start: int = 1) -> list[NotesDocument]:
    pairs = enumerate(texts, start)
    return [NotesDocument(f"r.jsonl:{line}", text, is_row=True) for line, text in pairs]


def held_out_paths(parts: SplitNotes) -> set[str]:
    return {document.path for document in parts.held_out}


@given(names.filter(lambda paths: len(paths) > 1), shares, seeds)
def test_every_document_is_either_trained_on_or_held_out(
    paths: list[str], share: float, seed: int
) -> None:
    notes = files(paths)
    parts = split(notes, TrainSettings(held_out=share, seed=seed))
    together = {*parts.training, *parts.held_out}
    assert together == set(notes.documents)
    assert len(parts.training) + len(parts.held_out) == len(notes.documents)
    assert parts.training == tuple(d for d in notes.documents if d in parts.training)
    assert bool(parts.held_out) != bool(parts.remarks)
    assert parts.training


@given(names, st.sampled_from([0.1, 0.3, 0.5]), seeds)
def test_held_out_files_stay_when_files_are_added(
    more: list[str], share: float, seed: int
) -> None:
    settings = TrainSettings(held_out=share, seed=seed)
    paths = [f"{i}.md" for i in range(30)]
    before = split(files(paths), settings)
    after = split(files([*paths, *more]), settings)
    assert len(before.held_out) > 1  # not the lowest alone, which can change
    assert held_out_paths(before) == held_out_paths(after) & set(paths)


def test_about_a_tenth_of_the_files_is_held_out_by_the_seed() -> None:
    paths = [f"{i}.md" for i in range(2000)]
    assert 150 < len(held_out_paths(split(files(paths), DEFAULT))) < 250
    other = split(files(paths), TrainSettings(seed=1))
    assert held_out_paths(split(files(paths), DEFAULT)) != held_out_paths(other)
    # It is the same in every version: an adapter is judged by it later.
    assert held_out_paths(split(files(paths[:30]), DEFAULT)) == {
        "17.md",
        "19.md",
        "20.md",
    }


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=12), seeds)
def test_equal_rows_are_all_trained_on_or_all_held_out(
    letters: list[str], seed: int
) -> None:
    documents = rows(*(letter + LONG for letter in letters))
    parts = split(notes_of(*documents), TrainSettings(seed=seed))
    trained = {document.content for document in parts.training}
    assert not trained & {document.content for document in parts.held_out}
    assert len(parts.training) + len(parts.held_out) == len(letters)


def test_held_out_rows_do_not_depend_on_their_lines() -> None:
    texts = [f"{i} {LONG}" for i in range(100)]
    parts = split(notes_of(*rows(*texts)), DEFAULT)
    moved = split(notes_of(*rows(*texts, start=40)), DEFAULT)
    assert len(parts.held_out) > 1
    assert [d.content for d in parts.held_out] == [d.content for d in moved.held_out]


def test_rows_of_every_kind_are_split() -> None:
    kinds: list[Content] = [
        *(Completion(f"{i}", LONG) for i in range(50)),
        *((ChatTurn("user", f"{i}"), ChatTurn("assistant", LONG)) for i in range(50)),
    ]
    documents = [
        NotesDocument(f"r.jsonl:{line}", content, is_row=True)
        for line, content in enumerate(kinds)
    ]
    kept = split(notes_of(*documents), DEFAULT).held_out
    assert {type(document.content) for document in kept} == {Completion, tuple}


paragraphs = st.lists(
    st.lists(st.text("ab 日.", min_size=20, max_size=70), min_size=1, max_size=3).map(
        "\n".join
    ),
    min_size=1,
    max_size=60,
).map("\n\n".join)


@given(paragraphs, st.sampled_from([0.1, 0.2, 0.5]))
def test_the_end_of_a_single_text_is_held_out(text: str, share: float) -> None:
    parts = split(notes_of(NotesDocument("a.md", text)), TrainSettings(held_out=share))
    joined = "".join(str(d.content) for d in (*parts.training, *parts.held_out))
    assert joined == text
    assert {d.path for d in (*parts.training, *parts.held_out)} == {"a.md"}
    if not parts.remarks:
        (kept,) = parts.held_out
        assert share / 2 - 0.01 <= len(str(kept.content)) / len(text) <= share * 1.5 + 1


@pytest.mark.parametrize(
    ("text", "training"),
    [
        ("p\n" * 440 + "\n" + "l\n" * 60, "p\n" * 440 + "\n"),
        ("line\n" * 200, "line\n" * 180),
        ("word " * 300, "word " * 270),
        ("日" * 1000, "日" * 900),
        ("x" * 1000, "x" * 900),
    ],
)
def test_held_out_end_begins_at_a_paragraph_line_or_word(
    text: str, training: str
) -> None:
    parts = split(notes_of(NotesDocument("a.md", text)), DEFAULT)
    assert parts.training == (NotesDocument("a.md", training),)


@pytest.mark.parametrize(
    "documents",
    [
        [NotesDocument("a.md", "twenty bytes of text")],
        [NotesDocument("a.md", "x" * 600)],  # of which a tenth is too little
        [NotesDocument("a.md", "short"), NotesDocument("b.md", "also short")],
        rows(LONG, LONG, LONG),
        [NotesDocument("r.jsonl:1", Completion(LONG, LONG * 30), is_row=True)],
        [NotesDocument(f"{i}", Completion(LONG, "a"), is_row=True) for i in range(3)],
    ],
)
def test_too_little_text_is_all_trained_on(documents: list[NotesDocument]) -> None:
    parts = split(notes_of(*documents), DEFAULT)
    assert parts.training == tuple(documents)
    assert parts.held_out == ()
    assert parts.remarks == (TOO_LITTLE_TEXT,)


def test_held_out_of_0_trains_on_every_document() -> None:
    notes = files(["a", "b", "c"])
    parts = split(notes, replace(DEFAULT, held_out=0.0))
    assert parts == SplitNotes(notes, notes.documents, (), (NOTHING_HELD_OUT,))

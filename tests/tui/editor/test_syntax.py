"""Colours of programs: which files have them, and what gets which."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.tui.editor import document as document_module
from lmtui.tui.editor.document import KINDS, SyntaxParts, language_for, syntax_document
from tests.tui.texts import edits, texts


def parts_of(text: str, language: str = "python") -> SyntaxParts:
    document = syntax_document(text, language)
    assert document is not None
    return SyntaxParts(document, language)


@pytest.mark.parametrize(
    ("name", "language"),
    [("a/b.py", "python"), ("A.MD", "markdown"), ("x.tcss", "css"), ("note.txt", None),
     ("Makefile", None), ("x.tar.gz", None), ("", None)],
)  # fmt: skip
def test_language_is_told_by_the_file_name(name: str, language: str | None) -> None:
    assert language_for(PurePath(name)) == language


def test_language_without_its_package_is_plain_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document_module, "get_language", lambda name: None)
    assert language_for(PurePath("a.py")) is None
    assert syntax_document("x = 1", "python") is None


def test_large_text_is_not_parsed_for_syntax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "LARGEST", 4)
    assert syntax_document("x = 1", "python") is None
    assert syntax_document("x=1", "python") is not None


def test_syntax_parts_are_counted_in_characters() -> None:
    parts = parts_of("é = 'ü'  # 漢字\ndef f():\n    return 1\n")
    assert (4, 7, "string") in parts.of(0)
    assert (9, 13, "comment") in parts.of(0)
    assert (0, 3, "keyword") in parts.of(1)
    assert (11, 12, "number") in parts.of(2)
    assert parts.of(99) == []


def test_syntax_part_over_several_lines_is_cut_by_line() -> None:
    parts = parts_of('x = """one\n\ntwo"""\n')
    assert (4, 10, "string") in parts.of(0)
    assert parts.of(1) == []
    assert (0, 6, "string") in parts.of(2)


@pytest.mark.parametrize("language", sorted(set(document_module._BY_SUFFIX.values())))
def test_syntax_parts_of_every_language_are_known_kinds(language: str) -> None:
    parts = parts_of('<a b="c">\n# x: 1\ndef f(x): return "y" // 2\n', language)
    kinds = {kind for line in range(4) for _, _, kind in parts.of(line)}
    assert kinds <= set(KINDS)


@given(st.data())
def test_syntax_parts_stay_within_their_lines(data: st.DataObject) -> None:
    text = "def f(x):\n" + data.draw(texts())
    document = syntax_document(text, "python")
    assert document is not None
    parts = SyntaxParts(document, "python")
    start, end, put = data.draw(edits(text))
    top, bottom = map(document.get_location_from_index, (start, end))
    document.replace_range(top, bottom, put)
    parts.clear()
    for number, line in enumerate(document.lines):
        assert all(0 <= low < high <= len(line) for low, high, _ in parts.of(number))


def test_syntax_parts_follow_an_edit() -> None:
    document = syntax_document("x = 'é'\ny = 2\n", "python")
    assert document is not None
    parts = SyntaxParts(document, "python")
    assert (4, 7, "string") in parts.of(0)
    document.replace_range((0, 4), (0, 4), "漢 +\n")
    parts.clear()
    assert all(kind != "string" for _, _, kind in parts.of(0))
    assert (0, 3, "string") in parts.of(1)
    assert (4, 5, "number") in parts.of(2)

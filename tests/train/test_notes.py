"""Notes become documents: what is read, how it looks then, and what is left out."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.train.likely_secrets import masked
from lmtui.train.notes import (
    Completion,
    NoteFile,
    Notes,
    NotesDocument,
    read_notes,
    without_front_matter,
)
from lmtui.train.settings import TrainSettings
from tests.train.notes_tree import write
from tests.train.test_notes_rows import NEITHER

DEFAULT = TrainSettings()


def texts(notes: Notes) -> dict[str, Any]:
    return {document.path: document.content for document in notes.documents}


def skipped(notes: Notes) -> dict[str, str]:
    return {skip.path: skip.reason for skip in notes.skipped}


def refused(*places: Path, settings: TrainSettings = DEFAULT) -> LmtuiError:
    with pytest.raises(LmtuiError) as caught:
        read_notes(places, settings)
    assert caught.value.title and caught.value.detail and caught.value.hint
    return caught.value


def test_any_text_file_is_a_document(tmp_path: Path) -> None:
    files = {
        "b.md": "# B\n",
        "a.py": "a = 1",
        "c": "c",
        "d/e.org": "日本",
        "f.x": "\x1b",
    }
    notes = read_notes([write(tmp_path, files)], DEFAULT)
    assert notes.root == tmp_path
    assert texts(notes) == files
    assert list(texts(notes)) == sorted(files)
    assert notes.skipped == ()
    assert notes.files[1] == NoteFile(
        "b.md", hashlib.sha256(b"# B\n").hexdigest(), 4, documents=1
    )
    assert not any(document.is_row for document in notes.documents)


def test_bom_and_line_endings_are_normalised(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"\xef\xbb\xbfa\r\nb\rc\n\r\n", "b.txt": "\ufeff\ufeffb"})
    notes = read_notes([tmp_path], DEFAULT)
    assert texts(notes) == {"a.txt": "a\nb\nc\n\n", "b.txt": "\ufeffb"}
    raw = (tmp_path / "a.txt").read_bytes()
    assert notes.files[0].sha256 == hashlib.sha256(raw).hexdigest()
    assert notes.files[0].bytes == len(raw)


def test_every_skipped_file_has_a_reason(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "good.md": "text",
            "again.txt": "same text\n",
            "again2.md": b"\xef\xbb\xbfsame text\r\n",
            "empty.md": "",
            "mark.md": "\ufeff",
            "blank.md": " \n\t\n",
            "matter.md": "---\ntitle: a\n---\n\n",
            "picture.png": b"\x89PNG\r\n\x1a\n\0\0",
            "packed.gz": b"\x1f\x8b\x08\xff",
            "late.txt": b"a" * 100_000 + b"\0",
            "latin.txt": b"caf\xe9",
            "latin": b"a" * 1500 + b"\xe9",
            "wide.txt": "wide".encode("utf-16"),
            "cut.txt": "é".encode()[:1],
            ".hidden": "x",
            "rows.jsonl": "{}",
        },
    )
    (tmp_path / "gone.md").symlink_to("nowhere")
    (tmp_path / "itself.md").symlink_to("itself.md")
    os.mkfifo(tmp_path / "pipe")
    notes = read_notes([tmp_path], DEFAULT)
    assert list(texts(notes)) == ["again.txt", "good.md"]
    assert skipped(notes) == {
        ".hidden": "hidden",
        "again2.md": "the same as again.txt",
        "blank.md": "empty",
        "cut.txt": "not UTF-8, byte 0",
        "empty.md": "empty",
        "gone.md": "can't be read (No such file or directory)",
        "itself.md": "can't be read (Too many levels of symbolic links)",
        "late.txt": "binary",
        "latin": "not UTF-8, byte 1,500",
        "latin.txt": "not UTF-8, byte 3",
        "mark.md": "empty",
        "matter.md": "empty",
        "packed.gz": "binary",
        "picture.png": "binary",
        "pipe": "not a regular file",
        "rows.jsonl": "no row that can be used",
        "rows.jsonl:1": NEITHER,
        "wide.txt": "UTF-16, not UTF-8",
    }


def opened_by(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], object]
) -> None:
    """Have something happen before each file is opened."""
    real = Path.open

    def opened(path: Path, *rest: Any, **more: Any) -> Any:
        before(path)
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)


def test_unreadable_file_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": "a", "locked.md": "b"})

    def refuse(path: Path) -> None:
        if path.name == "locked.md":
            raise PermissionError(13, "Permission denied")

    opened_by(monkeypatch, refuse)
    notes = read_notes([tmp_path], DEFAULT)
    assert list(texts(notes)) == ["a.md"]
    assert skipped(notes) == {"locked.md": "can't be read (Permission denied)"}


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": "a", "large.txt": ""})
    os.truncate(tmp_path / "large.txt", 50_000_000)
    tracemalloc.start()
    notes = read_notes([tmp_path], DEFAULT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert skipped(notes) == {"large.txt": "50.0 MB, more than 10 MB"}
    assert peak < 1_000_000
    write(tmp_path, {"large.txt": b"x" * 1_000_001})
    assert skipped(read_notes([tmp_path], TrainSettings(max_file_mb=1))) == {
        "large.txt": "1.0 MB, more than 1 MB"
    }
    os.truncate(tmp_path / "large.txt", 1_000_000)
    assert not skipped(read_notes([tmp_path], TrainSettings(max_file_mb=1)))


def test_a_file_that_grows_while_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": "a", "log.txt": "x"})

    def grow(path: Path) -> None:
        if path.name == "log.txt":
            with open(path, "wb") as file:
                file.write(b"x" * 2_000_000)

    opened_by(monkeypatch, grow)
    small = TrainSettings(max_file_mb=1)
    why = skipped(read_notes([tmp_path], small))["log.txt"]
    assert why == "1.0 MB, more than 1 MB"


def test_every_file_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": "a" * 100_000, "b.jsonl": '{"text": "b"}', "c.png": b"\0"})
    opened: list[str] = []
    opened_by(monkeypatch, lambda path: opened.append(path.name))
    monkeypatch.setattr(builtins, "open", None)
    read_notes([tmp_path, tmp_path / "a.md", tmp_path / "*"], DEFAULT)
    assert opened == ["a.md", "c.png", "b.jsonl"]  # shorter names first


def test_notes_without_text_are_refused_with_counted_reasons(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", {})
    assert refused(empty).detail == f"{empty} (no files)"
    files: dict[str, str | bytes] = {
        "a.png": b"\0",
        "b.png": b"a\0",
        "c.md": "",
        ".d": "d",
    }
    binaries = write(tmp_path / "binaries", files)
    error = refused(binaries)
    assert error.title == "there is no text to learn from"
    assert error.detail == f"{binaries} (2 × binary, 1 × hidden, 1 × empty)"


def test_file_of_broken_rows_is_refused_with_every_reason(tmp_path: Path) -> None:
    bad = ["{", "[]", {"a": 1}, {"text": " "}, {"messages": 1}, {"text": 1}]
    lines = (row if isinstance(row, str) else json.dumps(row) for row in bad)
    folder = write(tmp_path / "rows", {"a.jsonl": "\n".join(lines)})
    error = refused(folder)
    assert error.title == "no row of the .jsonl files can be used"
    assert error.detail.count("1 × ") == len(bad)


def test_rows_are_documents_named_by_their_lines(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    write(
        tmp_path,
        {
            "a/chat.JSONL": "\ufeff" + json.dumps({"messages": chat}) + "\r\n",
            "b.jsonl": '{"prompt": "p", "completion": "c"}\n\n{"text": "t"}\nno\n',
            "c.jsonl": '---\n{"text": "x: y"}\n---\n{"text": "z"}',
        },
    )
    notes = read_notes([tmp_path], DEFAULT)
    assert notes.documents == (
        NotesDocument(
            "a/chat.JSONL:1",
            (ChatTurn("user", "a"), ChatTurn("assistant", "b")),
            is_row=True,
        ),
        NotesDocument("b.jsonl:1", Completion("p", "c"), is_row=True),
        NotesDocument("b.jsonl:3", "t", is_row=True),
        NotesDocument("c.jsonl:2", "x: y", is_row=True),
        NotesDocument("c.jsonl:4", "z", is_row=True),
    )
    assert [file.documents for file in notes.files] == [1, 2, 2]
    assert skipped(notes) == {
        "b.jsonl:4": "not JSON: Expecting value, column 1",
        "c.jsonl:1": "not JSON: Expecting value, column 1",
        "c.jsonl:3": "not JSON: Expecting value, column 1",
    }


def test_many_broken_rows_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": '{"text": "a"}\n' + "{\n" * 5000})
    notes = read_notes([tmp_path], DEFAULT)
    assert len(notes.documents) == 1
    *named, counted = notes.skipped
    assert [skip.path for skip in named] == [f"a.jsonl:{i}" for i in range(2, 102)]
    assert (counted.path, counted.reason) == ("a.jsonl", "4,900 more broken rows")


def test_strict_refuses_broken_rows(tmp_path: Path) -> None:
    strict = TrainSettings(strict=True)
    write(tmp_path, {"a.jsonl": '{"text": "a"}\n\n{\n[]', "b.md": ""})
    assert refused(tmp_path, settings=strict).detail == (
        "a.jsonl:3 (not JSON: Expecting property name enclosed in double quotes, "
        "column 2), and 1 more"
    )
    write(tmp_path, {"a.jsonl": '{"text": "a"}'})
    assert skipped(read_notes([tmp_path], strict)) == {"b.md": "empty"}


def test_skipped_file_does_not_hide_an_equal_text(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": "not rows", "a.md": "not rows"})
    assert texts(read_notes([tmp_path], DEFAULT)) == {"a.md": "not rows"}


MATTER = "---\ntitle: A: b\n# why\ntags:\n  - x\n- y\n\n'quoted key': [\n]\n---\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (MATTER + "\n\ntext\n", "text\n"),
        ("---  \na:\n...\t\ntext", "text"),
        ("---\n---\ntext", "text"),
        ("---\na: b\n---", ""),
        (MATTER + "---\na: b\n---\n", "---\na: b\n---\n"),
        *(
            (same, same)
            for same in (
                "",
                "text\n" + MATTER,
                "\n" + MATTER,
                "--- a\nb: c\n---\n",
                "---\na: b\ntext without an end\n",
                "---\na: b\n",
                "---\n\na: b\n---\n",  # a ruler, and a paragraph
                "---\nA ruler above a sentence.\n---\n",
                "---\na: b\n\nOnce upon a time\n---\n",
            )
        ),
    ],
)
def test_front_matter_is_yaml_between_fences(text: str, left: str) -> None:
    assert without_front_matter(text) == left


@given(st.text("-. \nab:#", max_size=30))
def test_text_without_front_matter_is_a_suffix(text: str) -> None:
    left = without_front_matter(text)
    assert text.endswith(left)
    assert left == text or text.startswith("---")


def test_front_matter_is_dropped_only_from_notes_unless_kept(tmp_path: Path) -> None:
    text = MATTER + "text"
    write(tmp_path, {"a.md": text, "b.yaml": text, "c.RST": "\ufeff" + text + "\r\n"})
    notes = read_notes([tmp_path], DEFAULT)
    assert texts(notes) == {"a.md": "text", "b.yaml": text, "c.RST": "text\n"}
    keep = TrainSettings(front_matter="keep")
    assert texts(read_notes([tmp_path / "a.md"], keep)) == {"a.md": text}


SECRETS = (
    "api_key: sk-live-0123456789abcdef0123",
    "AKIAABCDEFGHIJKLMNOP",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "password = hunter2!",
    'Passwort: "geheim-123"',
    "export GITHUB=ghp_0123456789abcdefghijABCDEFGHIJ012345",
)
HARMLESS = (
    "The password: required for all users.",
    "password = <your password>",
    "api_key = ${API_KEY}",
    "A task-list, a risk-free desk-thermometer-of-the-office.",
    "AKIA is how they begin; ask for a passphrase: always.",
)


def test_likely_secrets_are_counted_with_their_places_and_never_told(
    tmp_path: Path,
) -> None:
    text = "".join(
        f"{one}\n{two}\n" for one, two in zip(HARMLESS, SECRETS, strict=False)
    )
    matter = "---\ntitle: A\npassword: hunter2!\n---\n\n"
    files = {"a.md": matter + text, "b.txt": f"b\n{SECRETS[5]}", "c.txt": HARMLESS[0]}
    [remark] = read_notes([write(tmp_path, files)], DEFAULT).remarks
    assert remark.startswith("6 lines look like keys or passwords")
    named = ["a.md:7", "a.md:9", "a.md:11", "a.md:13", "a.md:15"]
    assert remark.endswith(f": {', '.join(named)}, …")
    assert not any(secret in remark for secret in SECRETS)
    kept = TrainSettings(front_matter="keep")
    [remark] = read_notes([tmp_path], kept).remarks
    assert remark.startswith("7 lines") and "a.md:3" in remark


def test_likely_secrets_are_masked_in_a_shown_text() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"
    shown = masked("\n".join(("a", *SECRETS[:2], *SECRETS[3:], *HARMLESS, key, "z")))
    assert shown.startswith("a\n") and shown.endswith("\n…\nz")
    assert all(line in shown for line in HARMLESS)
    for hidden in ("sk-live", "AKIAABC", "MIIabc", "hunter2", "geheim", "ghp_"):
        assert hidden not in shown


def test_one_secret_in_a_row_is_named_by_its_line(tmp_path: Path) -> None:
    row = json.dumps({"text": f"x\n{SECRETS[0]}"})
    write(tmp_path, {"b.jsonl": f"\n{row}\n"})
    [remark] = read_notes([tmp_path], DEFAULT).remarks
    start = "1 line looks like a key or password that would be learned"
    assert remark == f"{start}: b.jsonl:2"


def test_tables_are_read_as_text_with_a_remark(tmp_path: Path) -> None:
    notes = read_notes([write(tmp_path, {"a.csv": "x,y\n1,2\n", "b.md": "b"})], DEFAULT)
    assert texts(notes) == {"a.csv": "x,y\n1,2\n", "b.md": "b"}
    [remark] = notes.remarks
    assert remark.startswith("a.csv: read as plain text") and ".jsonl" in remark


def test_pdf_files_are_refused_with_the_program_that_converts_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n\x00\x01 stream")
    (tmp_path / "b.PDF").write_bytes(b"%PDF-1.7\nplain")
    error = refused(tmp_path)
    assert "2 × PDF" in error.detail and "pdftotext" in error.hint
    (tmp_path / "c.md").write_text("c")
    assert "pdftotext" in skipped(read_notes([tmp_path], DEFAULT))["a.pdf"]


def test_of_equal_files_the_shortest_name_is_used_and_the_order_stays(
    tmp_path: Path,
) -> None:
    copies = {"copy of z.md": "same", "a/z.md": "same", "zz.md": "same"}
    row = '{"text": "a row"}\n{'
    rows = {"copy of rows.jsonl": row, "rows.jsonl": row}
    others = {"a note with a long name.md": "long", "m.md": "middle", "z.md": "same"}
    write(tmp_path, copies | rows | others)
    notes = read_notes([tmp_path], DEFAULT)
    used = ["a note with a long name.md", "m.md", "rows.jsonl", "z.md"]
    assert [file.path for file in notes.files] == used
    assert [document.path for document in notes.documents] == [
        "a note with a long name.md", "m.md", "rows.jsonl:1", "z.md"
    ]  # fmt: skip
    assert skipped(notes) == {
        "copy of rows.jsonl": "the same as rows.jsonl",
        "rows.jsonl:2": "not JSON: Expecting property name enclosed in double quotes, "
        "column 2",
        **dict.fromkeys(copies, "the same as z.md"),
    }

"""Files in a message: what names one, what it becomes, what is refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat import attachments
from lmtui.chat.attachments import (
    LARGEST,
    attach,
    completions,
    files_in,
    mention_at,
    mentions,
    quoted,
    written,
)
from lmtui.errors import LmtuiError

PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=20
).filter(lambda path: "\n" not in path and len(path.splitlines()) == 1)
TEXTS = st.text(st.sampled_from("a `~\n#@\t漢"), max_size=60)


@pytest.mark.parametrize(
    ("draft", "paths"),
    [
        ("", []),
        ("no file", []),
        ("@notes.md", ["notes.md"]),
        ("see @notes.md, please", ["notes.md"]),
        ("(see @a/b.py)", ["a/b.py"]),
        ('@"two words.md" and @x.txt.', ["two words.md", "x.txt"]),
        (r'@"a \"b\" \\c"', [r'a "b" \c']),
        ("me@example.org", []),
        ("@@notes.md @", []),
        ('@"no end', []),
        ('@""', []),
        ("@one\n@two", ["one", "two"]),
    ],
)
def test_mentions_finds_paths_after_at_signs(draft: str, paths: list[str]) -> None:
    assert [mention.path for mention in mentions(draft)] == paths


@given(PATHS, st.sampled_from(["", "see "]), st.sampled_from(["", " it", "\nit"]))
def test_written_mention_is_found_with_the_same_path(
    path: str, before: str, after: str
) -> None:
    draft = f"{before}{written(path)}{after}"
    (mention,) = mentions(draft)
    assert mention.path == path
    assert draft[mention.start : mention.end] == written(path)


@pytest.mark.parametrize(
    ("draft", "path"),
    [
        ("@|", ""),
        ("see @|", ""),
        ("see @no|", "no"),
        ("see @no|tes.md", "no"),
        ("see @notes.|", "notes."),
        ('@"two w|', "two w"),
        ('@"two words"|', None),
        ("@notes |", None),
        ("me@|", None),
        ("@@a|", None),
        ("|@a", None),
    ],
)
def test_mention_at_gives_the_path_before_the_cursor(
    draft: str, path: str | None
) -> None:
    cursor = draft.index("|")
    found = mention_at(draft.replace("|", ""), cursor)
    assert (found and found.path) == path
    if found:
        assert found.end == cursor


@given(PATHS, TEXTS)
def test_file_text_cannot_close_its_code_fence(path: str, text: str) -> None:
    first, *lines = quoted(path, text).split("\n")
    fence = re.match("`+", first)
    assert fence is not None and len(fence[0]) >= 3
    assert "`" not in first.removeprefix(fence[0])
    assert lines[-1] == fence[0]
    assert not any(line.strip().startswith(fence[0]) for line in lines[:-1])
    inside = "".join(f"{line}\n" for line in lines[:-1])
    assert inside == (text if not text or text.endswith("\n") else f"{text}\n")


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_attach_quotes_every_file_in_full_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for number, text in enumerate(texts):
        (folder / f"{number}.md").write_bytes(text.encode())
    draft = " and ".join(f"@{number}.md" for number in range(len(texts)))
    found = attach(draft, folder)
    said = " and ".join(f"{number}.md" for number in range(len(texts)))
    blocks = [quoted(f"{number}.md", text) for number, text in enumerate(texts)]
    assert found.text == "\n\n".join([said, *blocks])
    assert [file.text for file in found.files] == texts


def test_a_draft_without_files_stays_as_it_is(tmp_path: Path) -> None:
    for draft in ("", "hello\n", "@alice, hi", "me@home.org", "a @ b", '@"no end'):
        found = attach(draft, tmp_path)
        assert (found.text, found.files) == (draft, ())
    assert attach("@@notes.md and @@", tmp_path).text == "@notes.md and @"


def test_a_file_named_twice_is_quoted_once(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("\ufeffone\r\n".encode())
    found = attach("@a.md or @a.md?", tmp_path)
    assert found.text == "a.md or a.md?\n\n```md a.md\none\r\n```"
    assert attach(f"@{tmp_path}/a.md", Path("/nowhere")).files[0].text == "one\r\n"


def test_mention_of_a_file_without_extension_attaches_it(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    assert attach("@Makefile!", tmp_path).text == (
        "Makefile!\n\n```text Makefile\nall:\n```"
    )


@pytest.mark.parametrize(
    ("draft", "title", "hint"),
    [
        ("@gone.md", "there is no such file", "Tab completes"),
        ("@folder/", "this is a folder", "Tab completes"),
        ("@binary.bin", "this is a binary file", "UTF-8"),
        ("@latin.txt", "not valid UTF-8", "iconv"),
        ("@large.txt", "too large to attach", "at most 1,000,000 bytes"),
        ("@pipe.fifo", "this file can.t be attached", "regular file"),
        ('@"nul\0.md"', "the file can't be read", "Tab completes"),
        (f"@{'x' * 5000}.md", "the file can't be read", "Tab completes"),
    ],
)
def test_unattachable_file_is_refused_with_a_hint(
    tmp_path: Path, draft: str, title: str, hint: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.bin").write_bytes(b"a\0b")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "large.txt").write_bytes(b"x" * (LARGEST + 1))
    os.mkfifo(tmp_path / "pipe.fifo")
    with pytest.raises(LmtuiError, match=title) as caught:
        attach(f"see {draft}", tmp_path)
    assert hint in caught.value.hint
    assert caught.value.detail


def test_completions_list_matching_file_names(tmp_path: Path) -> None:
    for name in ("Notes.md", "notes two.md", ".hidden", "new\nline"):
        (tmp_path / name).write_text("")
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "deep.py").write_text("")
    assert completions("", tmp_path) == ("nested/", "notes two.md", "Notes.md")
    assert completions("n", tmp_path) == ("nested/", "notes two.md", "Notes.md")
    assert completions("N", tmp_path) == ("Notes.md",)
    assert completions(".", tmp_path) == (".hidden",)
    assert completions("nested/", tmp_path) == ("nested/deep.py",)
    assert completions("nowhere/x", tmp_path) == ()
    assert completions("\0", tmp_path) == ()
    assert completions(f"{tmp_path}/nes", Path("/")) == (f"{tmp_path}/nested/",)


def test_long_list_of_completions_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "MOST", 3)
    for number in range(9):
        (tmp_path / str(number)).write_text("")
    assert completions("", tmp_path) == ("0", "1", "2")


@given(st.lists(TEXTS, max_size=3))
def test_files_of_a_message_are_found_in_it(texts: list[str]) -> None:
    blocks = [quoted(f"{i}.md", text) for i, text in enumerate(texts)]
    message = "\n\n".join(["Read these.", *blocks])
    found = files_in(message)
    assert [(name, message[a:b]) for name, a, b in found] == [
        (f"{i}.md", block) for i, block in enumerate(blocks)
    ]


@pytest.mark.parametrize(
    "message", ["", "no file", "```py\nx\n```", "```py a.py\nx\n``` and more"]
)
def test_message_without_a_file_has_none(message: str) -> None:
    assert not files_in(message)

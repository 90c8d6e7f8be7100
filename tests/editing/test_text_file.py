"""Loading text files: nothing is lost on the way, and what is no text is refused."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmtui.editing import text_file
from lmtui.editing.text_file import (
    Endings,
    changed_on_disk,
    load,
    piped,
    save,
    to_bytes,
)
from lmtui.errors import LmtuiError
from tests.test_imports import loaded_by

CONTENTS = st.tuples(
    st.sampled_from(["", "\ufeff", "\ufeff\ufeff"]),
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
        | st.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
    ).map("".join),
).map(lambda parts: "".join(parts).encode())


def refused(path: Path) -> LmtuiError:
    """The error that loading ends in."""
    with pytest.raises(LmtuiError) as caught:
        load(path)
    assert caught.value.title and caught.value.detail and caught.value.hint
    return caught.value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENTS)
def test_unedited_file_is_saved_byte_for_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    file = load(path)
    assert "\r" not in file.text
    assert to_bytes(file, file.text) == data
    saved = save(file, file.text)
    assert path.read_bytes() == data
    assert (saved.file.text, saved.notes) == (file.text, ())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENTS)
def test_piped_text_is_saved_byte_for_byte_under_the_name_it_gets(
    tmp_path: Path, data: bytes
) -> None:
    file = piped(data)
    assert (file.is_named, file.saved_text) == (False, "")
    assert changed_on_disk(file) is None
    saved = save(file, file.text, tmp_path / "named.txt").file
    assert saved.path.read_bytes() == data
    assert (saved.is_named, saved.saved_text) == (True, file.text)


@pytest.mark.parametrize(
    ("data", "text", "bom", "endings"),
    [
        (b"", "", False, Endings()),
        (b"\xef\xbb\xbf", "", True, Endings()),
        (b"\xef\xbb\xbfa\r\nb\r\n", "a\nb\n", True, Endings("\r\n")),
        (b"a\rb", "a\nb", False, Endings("\r")),
        ("é\n".encode(), "é\n", False, Endings()),
    ],
)
def test_load_detects_bom_and_line_endings(
    tmp_path: Path, data: bytes, text: str, bom: bool, endings: Endings
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    file = load(path)
    assert (file.text, file.bom, file.endings) == (text, bom, endings)
    assert (file.path, file.is_new, file.read_only) == (path, False, False)


def test_a_file_that_is_not_there_is_new(tmp_path: Path) -> None:
    file = load(tmp_path / "new.txt")
    assert file.is_new
    assert (file.text, file.digest, file.read_only) == ("", None, False)
    assert not list(tmp_path.iterdir())
    error = refused(tmp_path / "missing" / "new.txt")
    assert error.title == "there is no such folder"
    (tmp_path / "link").symlink_to(tmp_path / "missing" / "new.txt")
    assert refused(tmp_path / "link").title == "there is no such folder"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).title == "this is a folder, not a text"


def test_pipe_socket_and_device_are_refused_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/null")):
            assert "not a text file" in refused(path).title


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"text\0")
    error = refused(path)
    assert error.title == "this is a binary file, not a text"
    assert "NUL at byte 4" in error.detail


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_text_in_another_encoding_is_refused_where_it_begins(
    tmp_path: Path, start: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(start + "ü".encode() + b"\r\nf\xfcr")
    error = refused(path)
    assert error.title == "the text is not valid UTF-8"
    assert error.detail == f"{path}, byte {len(start) + 5}"


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    os.truncate(path, text_file.MOST_BYTES + 100_000)
    error = refused(path)
    assert error.title == "the file is too large to edit"
    assert error.detail == f"{path}, 20.1 MB; at most 20 MB are"


def test_the_largest_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "MOST_BYTES", 3)
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert load(path).text == "abc"


@pytest.mark.parametrize("name", ["a/b", "x" * 300, "loop", "nul\0"])
def test_impossible_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused(tmp_path / name).title == "the file can't be read"


def test_read_only_file_opens_as_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    path.chmod(0o444)
    by_its_mode(monkeypatch)
    file = load(path)
    assert (file.text, file.read_only) == ("abc", True)
    path.chmod(0o644)
    tmp_path.chmod(0o555)
    assert load(path).read_only
    assert load(tmp_path / "new").read_only
    tmp_path.chmod(0o755)
    assert not load(path).read_only


def by_its_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modes count for the superuser too, who may run the tests."""
    real = os.access

    def access(path: str | Path, wanted: int) -> bool:
        allowed = os.stat(path).st_mode >> 6 & 0o7
        return real(path, wanted) and (allowed & wanted) == wanted

    monkeypatch.setattr(os, "access", access)


def test_surrogate_in_the_text_is_refused(tmp_path: Path) -> None:
    file = load(tmp_path / "a")
    with pytest.raises(LmtuiError) as caught:
        to_bytes(file, "a\ud800")
    assert caught.value.title == "a character of the text can't be saved"
    assert "U+D800" in caught.value.detail


@pytest.mark.parametrize(
    "module",
    ["text_file", "file_names", "find", "positions", "recovery", "surprises"],
)
def test_editing_modules_load_nothing_heavy(module: str) -> None:
    assert loaded_by(f"lmtui.editing.{module}") == set()

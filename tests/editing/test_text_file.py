"""Loading text files: nothing is lost on the way, and what is no text is refused."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmtui.editing import text_file
from lmtui.editing.text_file import (
    changed_on_disk,
    load,
    piped,
    save,
    to_bytes,
)
from lmtui.errors import LmtuiError

CONTENTS = st.tuples(
    st.sampled_from(["", "\ufeff", "\ufeff\ufeff"]),
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
        | st.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x1c", "\x85", "\u2028"])
    ).map("".join),
).map("".join)


def refused(path: Path) -> LmtuiError:
    """The error that loading ends in."""
    with pytest.raises(LmtuiError) as caught:
        load(path)
    assert caught.value.title and caught.value.detail and caught.value.hint
    return caught.value


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENTS.map(str.encode))
def test_piped_text_is_saved_byte_for_byte_under_the_name_it_gets(
    tmp_path: Path, data: bytes
) -> None:
    file = piped(data)
    assert (file.is_named, file.saved_text) == (False, "")
    assert changed_on_disk(file) is None
    saved = save(file, file.text, tmp_path / "named.txt").file
    assert saved.path.read_bytes() == data
    assert (saved.is_named, saved.saved_text) == (True, file.text)


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
def test_damaged_utf8_is_refused_where_the_damage_begins(
    tmp_path: Path, start: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(start + "ü".encode() * 20 + b"\r\nf\xfcr")
    error = refused(path)
    assert error.title == "the text is not valid UTF-8"
    assert error.detail == f"{path}, byte {len(start) + 43} (line 2)"


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        ("für\n", "latin-1", "latin-1"),
        ("漢字\r\n😀", "utf-16-le", "utf-16-le"),
        ("漢字\r\n😀", "utf-16-be", "utf-16-be"),
        ("", "utf-16-le", "utf-16-le"),
    ],
)
def test_utf16_and_latin1_are_read_and_saved_as_such(
    tmp_path: Path, text: str, codec: str, encoding: str
) -> None:
    mark = "\ufeff" if "16" in codec else ""
    path = tmp_path / "a"
    path.write_bytes((mark + text).encode(codec))
    file = load(path)
    assert (file.text, file.encoding) == (text.replace("\r\n", "\n"), encoding)
    saved = save(file, "ü" + file.text).file
    assert path.read_bytes() == (mark + "ü" + text).encode(codec)
    assert (saved.encoding, saved.bom) == (encoding, bool(mark))


@given(
    CONTENTS.map(str.encode)
    | st.builds(
        lambda text, codec: ("\ufeff" + text).encode(codec),
        CONTENTS,
        st.sampled_from(["utf-16-le", "utf-16-be"]),
    )
    | st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")
        | st.sampled_from("\t\n\v\f\r\b\a\x1b")
    ).map(lambda text: text.encode("latin-1"))
)
def test_unedited_and_undone_text_is_saved_byte_for_byte(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(data)
        file = load(path)
        assert "\r" not in file.text or file.endings == "mixed"
        assert to_bytes(file, file.text) == data
        saved = save(file, file.text)
        assert path.read_bytes() == data
        assert (saved.file.text, saved.note) == (file.text, "")
        edited = save(saved.file, "x" + file.text).file
        assert path.read_bytes() != data
        save(edited, file.text)
        assert path.read_bytes() == data


def test_character_that_latin1_lacks_is_saved_only_under_another_name(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"f\xfcr\n")
    file = load(path)
    with pytest.raises(LmtuiError) as caught:
        save(file, "für\n5 €")
    assert "“€”, U+20AC, which Latin-1 does not have" in caught.value.detail
    assert caught.value.detail.endswith("line 2")
    assert "another name: as UTF-8" in caught.value.hint
    assert path.read_bytes() == b"f\xfcr\n"
    other = save(file, "für\n5 €", tmp_path / "b").file
    assert (tmp_path / "b").read_bytes() == "für\n5 €".encode()
    assert load(tmp_path / "b").encoding == other.encoding == "utf-8"


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(1, 256)),
        b"\xff\xfe\0\0a\0\0\0",  # UTF-32
        b"\xff\xfea\0b\0c",  # half a character at the end
        "\ufeffa\0b".encode("utf-16-le"),
        gzip.compress(bytes(range(256)) * 9, mtime=0),
        bytes(range(1, 7)) + bytes(range(150, 244)),  # without NUL, and short
    ],
)
def test_binary_data_is_no_text_in_another_encoding(
    tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "a").write_bytes(data)
    assert refused(tmp_path / "a").title == "this is a binary file, not a text"


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
    file = load(path)  # its mode counts for the superuser, too
    assert (file.text, file.read_only) == ("abc", True)
    by_its_mode(monkeypatch)
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

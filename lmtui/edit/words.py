"""Words whose surprise is nothing to look at: names, terms, the user's own spelling.

Owns one small file, a word a line, which the user may edit too. Upper and lower case
are different words. Nothing here raises: without the file no word is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError


def ignored_words() -> frozenset[str]:
    """The words to ignore; waits for the disk."""
    return frozenset(_words() or ())


def ignore(word: str) -> bool:
    """Ignore `word` from now on; whether that will be remembered."""
    word = word.strip()
    words = _words()
    if words is None or not _is_one_line(word):
        return False
    return word in words or _write([*words, word])


def heed(word: str) -> bool:
    """No longer ignore `word`; whether that will be remembered."""
    words = _words()
    if words is None:
        return False
    rest = [other for other in words if other != word.strip()]
    return rest == words or _write(rest)


def _file() -> Path:
    return paths.data_folder() / "ignored-words.txt"


def _words() -> list[str] | None:
    """The words in the file's order; None where it can't be read, so that it is not
    written over."""
    try:
        text = _file().read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _is_one_line(word: str) -> bool:
    return bool(word) and "\n" not in word


def _write(words: Iterable[str]) -> bool:
    data = "".join(f"{word}\n" for word in words)
    try:
        paths.ensure_folder(paths.data_folder())
        paths.write_atomically(_file(), data.encode("utf-8", "surrogateescape"))
    except (OSError, ValueError, LmtuiError):
        return False
    return True

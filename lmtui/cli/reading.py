"""The user's text as the command line gives it: a file or stdin, and arguments.

Owns what `-` means and that an argument is text. Files are read by `lmtui.reading`.
"""

from __future__ import annotations

import sys

from lmtui.errors import LmtuiError
from lmtui.reading import Document, not_utf8, read_file, read_text

STDIN = "-"


def read_document(name: str, *, nul: bool = False) -> Document:
    """The text of a file, or of stdin for `-`; with `nul`, NULs may be in it.

    Raises:
        LmtuiError: it can't be read, or is not UTF-8 text.
    """
    if name == STDIN:
        return Document(name, read_stdin(nul=nul))
    return read_file(name, nul=nul)


def read_stdin(*, nul: bool = False) -> str:
    """All of stdin; with `nul`, NULs may be in it.

    Raises:
        LmtuiError: it is closed, was read before, or is not UTF-8 text.
    """
    if sys.stdin is not None and sys.stdin.buffer.closed:
        hint = "Name it once, or save the text in a file."
        raise LmtuiError("stdin can be read only once", "", hint)
    if sys.stdin is None:
        raise LmtuiError("stdin is closed", "", "Give a file, or pipe a text.")
    return read_text("stdin", lambda: sys.stdin.buffer, nul=nul)


def require_text(text: str, what: str) -> str:
    """`text`, an argument of the command line, if it was UTF-8.

    Raises:
        LmtuiError: the shell passed bytes that are not.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise not_utf8(what, len(text[: error.start].encode("utf-8"))) from None
    return text

"""A conversation as a file in one of the formats.

Owns which ending means which format, and that no file is overwritten. Knows no store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from lmtui.chat.interchange import to_json
from lmtui.chat.listed import Facts
from lmtui.chat.markdown import to_markdown
from lmtui.chat.tree import Conversation
from lmtui.chat.webpage import to_html
from lmtui.errors import LmtuiError


class Format(StrEnum):
    """What a conversation is written as."""

    MARKDOWN = "md"
    JSON = "json"
    HTML = "html"


_OTHERS = {"markdown": "md", "htm": "html", "jsonl": "json"}


def format_of(path: Path) -> Format:
    """The format that a file's ending names.

    Raises:
        LmtuiError: it names none.
    """
    ending = path.suffix.lower().lstrip(".")
    try:
        return Format(_OTHERS.get(ending, ending))
    except ValueError:
        raise LmtuiError(
            "the format is not known",
            str(path),
            "End the name with .md, .json or .html.",
        ) from None


def written(format: Format, conversation: Conversation, facts: Facts) -> str:
    """A conversation in a format."""
    if format is Format.JSON:
        return to_json(conversation, facts)
    if format is Format.HTML:
        return to_html(conversation, facts.title, updated=facts.updated)
    return to_markdown(conversation, facts.title)


def write_new(path: Path, parts: Iterable[str]) -> None:
    """Write a new file.

    Raises:
        LmtuiError: there is one, or none can be written there.
    """
    try:
        with path.open("x", encoding="utf-8", newline="") as file:
            for part in parts:
                file.write(part)
    except FileExistsError:
        raise LmtuiError(
            "this file already exists", str(path), "Name another one."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LmtuiError(
            "the file can't be written", f"{path} ({reason})", "Name another place."
        ) from error


def name_for(title: str) -> str:
    """A file name, without its ending, from a title."""
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:40] or "conversation"

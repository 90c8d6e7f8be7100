"""Files in a message: `@notes.md`, or `@"two words.md"`, brings a file along.

Owns what in a draft names a file, how a name that is begun goes on, and the text that a
file becomes: quoted in full below the message, under its name, in a fence that nothing
in the file can close. That text is what the model reads and what is kept. A word after
an @ that names no file stays a word, unless it can only be a path; `@@` is an @. Looks
at the disk and changes nothing. Knows no screen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.files import read_text, unreadable
from lmtui.text import visible_line

LARGEST = 1_000_000
"""Bytes of a file that can be attached; a context holds far less."""
MOST = 200
"""Names that a name can be completed to."""

_LOOKED_AT = 10_000  # names of a folder
_QUOTED = r'"(?P<quoted>(?:[^"\\\n]|\\.)*)(?P<end>"?)'
_MENTION = re.compile(rf'(?<!\S)@(?:{_QUOTED}|(?P<plain>[^\s"@]\S*))')
_DOUBLED = re.compile(r"(?<!\S)@(?=@)")
_BEGUN = re.compile(r"(?<!\S)@(?=\S)")
_BEHIND = ".,;:!?)]}'…"  # what ends a sentence ends a path too


@dataclass(frozen=True, slots=True)
class Mention:
    """A place in a draft that names a file."""

    start: int
    end: int
    """Code points of the draft, from the @ on."""
    path: str
    """What is named, as the user means it."""
    sure: bool
    """Whether it can only be a path, not a word after an @."""
    closed: bool = True
    """False for a quotation that has no end yet."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a message brings along."""

    path: str
    """As the draft names it."""
    text: str

    @property
    def quoted(self) -> str:
        """The file as it stands in the message."""
        return quoted(self.path, self.text)


@dataclass(frozen=True, slots=True)
class Attached:
    """A draft with its files."""

    text: str
    """What the model reads, and what is kept."""
    files: tuple[Attachment, ...] = ()


def mentions(draft: str) -> tuple[Mention, ...]:
    """The places that name a file, in order, whether there is one or not."""
    return tuple(found for found in _all(draft) if found.closed and found.path)


def mention_at(draft: str, cursor: int) -> Mention | None:
    """The name that is being written at a cursor, which may be only begun."""
    for found in _all(draft[:cursor], whole=True):
        if found.end == cursor and not (found.closed and draft[cursor - 1] == '"'):
            return found
    lone = re.search(r"(?<!\S)@$", draft[:cursor])
    return Mention(lone.start(), cursor, "", sure=False) if lone else None


def _all(draft: str, *, whole: bool = False) -> Iterator[Mention]:
    """Every mention; with `whole`, up to the next space, whatever stands there."""
    for match in _MENTION.finditer(draft):
        if (plain := match["plain"]) is None:
            path = re.sub(r"\\(.)", r"\1", match["quoted"])
            closed = bool(match["end"])
            yield Mention(match.start(), match.end(), path, sure=True, closed=closed)
            continue
        path = plain if whole else plain.rstrip(_BEHIND)
        end = match.end() - (len(plain) - len(path))
        sure = "/" in path or "." in path.lstrip(".")
        yield Mention(match.start(), end, path, sure=sure)


def written(path: str, *, closed: bool = True) -> str:
    """A path as a draft names it, in quotes where it has to be."""
    plain = _MENTION.fullmatch(f"@{path}")
    if plain and plain["plain"] == path and path.rstrip(_BEHIND) == path:
        return f"@{path}"
    inner = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'@"{inner}"' if closed else f'@"{inner}'


def quoted(path: str, text: str) -> str:
    """A file under its name, between two fences longer than any run in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    name = visible_line(path).replace("`", "'")
    suffix = Path(path).suffix.removeprefix(".")
    kind = suffix if suffix.isalnum() else "text"
    body = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{fence}{kind} {name}\n{body}{fence}"


def attach(draft: str, folder: Path) -> Attached:
    """The draft with the files it names, read from `folder` or from where they are.

    Raises:
        LmtuiError: a file that is named can't be attached.
    """
    parts: list[str] = []
    files: dict[str, Attachment] = {}
    done = 0
    for mention in mentions(draft):
        file = files.get(mention.path) or _read(mention, folder)
        if file is None:
            continue
        files[mention.path] = file
        parts += [plain(draft[done : mention.start]), mention.path]
        done = mention.end
    text = "".join([*parts, plain(draft[done:])])
    blocks = [file.quoted for file in files.values()]
    return Attached("\n\n".join([text, *blocks]), tuple(files.values()))


def unnamed(text: str) -> str:
    """A draft that names no file, and with which `attach` makes this text."""
    return _BEGUN.sub("@@", text)


def plain(text: str) -> str:
    """A draft that names no file as it will be said, where two @ stand for one."""
    return _DOUBLED.sub("", text)


def _read(mention: Mention, folder: Path) -> Attachment | None:
    """The file that is named; None where a word that is no path names none."""
    name = mention.path
    try:
        path = folder / Path(name).expanduser()
        if not mention.sure and not path.is_file():
            return None
        size = path.stat().st_size
    except (OSError, RuntimeError, ValueError) as error:
        if not mention.sure:
            return None
        refused = error if isinstance(error, OSError | ValueError) else OSError(error)
        raise _refused(name, unreadable(name, refused)) from error
    if path.is_dir():
        raise _refused(name, unreadable(name, IsADirectoryError()))
    if not path.is_file():
        hint = "Attach a regular file."
        raise LmtuiError("this is no file that can be attached", name, hint)
    if size > LARGEST:
        raise _too_large(name, size)
    text = read_text(name, lambda: path.open("rb"))
    if len(text) > LARGEST:  # it grew, or did not tell its size
        raise _too_large(name, len(text))
    return Attachment(name, text.removeprefix("\ufeff"))


def _refused(name: str, error: LmtuiError) -> LmtuiError:
    """The reader's error, with what to do where a message is written."""
    hint = "Name a file after the @; Tab completes. @@ is an @ that names none."
    return LmtuiError(error.title, error.detail or name, hint)


def _too_large(name: str, size: int) -> LmtuiError:
    return LmtuiError(
        "this file is too large to attach",
        f"{name}, {size:,} bytes",
        f"Attach a part of it: at most {LARGEST:,} bytes.",
    )


def completions(path: str, folder: Path) -> tuple[str, ...]:
    """The paths that begin like this one, folders with a slash and before the files;
    none where nothing can be listed."""
    head, slash, begun = path.rpartition("/")
    shown = f"{head}{slash}"
    try:
        entries = list(_entries(folder / Path(shown).expanduser(), begun))
    except (OSError, RuntimeError, ValueError):
        return ()
    entries.sort(key=lambda entry: (not entry[1], entry[0].casefold(), entry[0]))
    return tuple(
        f"{shown}{name}{'/' if is_folder else ''}" for name, is_folder in entries
    )[:MOST]


def _entries(folder: Path, begun: str) -> Iterator[tuple[str, bool]]:
    """Names with what they are; those that can't be typed are left out."""
    with os.scandir(folder) as entries:
        looked_at: Iterable[tuple[int, os.DirEntry[str]]] = zip(
            range(_LOOKED_AT), entries, strict=False
        )
        for _, entry in looked_at:
            name = entry.name
            hidden = name.startswith(".") and not begun.startswith(".")
            if _begins(name, begun) and name.isprintable() and not hidden:
                yield name, entry.is_dir()


def _begins(name: str, begun: str) -> bool:
    """Case counts once a capital letter is written."""
    return (name if begun != begun.lower() else name.lower()).startswith(begun)

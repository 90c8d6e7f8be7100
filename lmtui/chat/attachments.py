"""File attachments: `@notes.md` or `@"two words.md"` in a draft adds a file's text.

The file is quoted below the message, under its name, in a code fence that nothing in it
can close; the model reads that text and the store keeps it. A word after an @ that
names no file stays a word, unless it can only be a path; `@@` is an @.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.files import read_text, unreadable
from lmtui.text import visible_line

LARGEST = 1_000_000
"""Largest file that can be attached, in bytes; a context holds far less."""
MOST = 200
"""Largest number of completions of a name."""

_LOOKED_AT = 10_000  # names of a folder that are examined
_QUOTED = r'"(?P<quoted>(?:[^"\\\n]|\\.)*)(?P<end>"?)'
_MENTION = re.compile(rf'(?<!\S)@(?:{_QUOTED}|(?P<plain>[^\s"@]\S*))')
_DOUBLED = re.compile(r"(?<!\S)@(?=@)")
_BEGUN = re.compile(r"(?<!\S)@(?=\S)")
_BLOCK = re.compile(
    r"(?:\A|\n\n)(?P<block>(?P<fence>`{3,})\w+ (?P<name>[^`\n]+)\n"
    r"(?:(?!(?P=fence)).*\n)*?(?P=fence))\Z",
)
_BEHIND = ".,;:!?)]}'…"  # punctuation at the end of a path belongs to the sentence


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a draft that names a file."""

    start: int
    end: int
    """Both are offsets in code points; `start` is that of the @."""
    path: str
    """The named path, quotes and escapes removed."""
    sure: bool
    """Whether it can only be a path, not a word after an @."""
    closed: bool = True
    """False for a quotation without its closing quote."""


@dataclass(frozen=True, slots=True)
class Attachment:
    path: str
    """The path as the draft names it."""
    text: str

    @property
    def quoted(self) -> str:
        """The file's text as it is in the message."""
        return quoted(self.path, self.text)


@dataclass(frozen=True, slots=True)
class Attached:
    text: str
    """The text that the model reads and the store keeps."""
    files: tuple[Attachment, ...] = ()


def mentions(draft: str) -> tuple[Mention, ...]:
    """Return all complete mentions in order, whether their files exist or not."""
    return tuple(mention for mention in _all(draft) if mention.closed and mention.path)


def mention_at(draft: str, cursor: int) -> Mention | None:
    """Return the mention that ends at the cursor, which may be incomplete."""
    for mention in _all(draft[:cursor], whole=True):
        if mention.end == cursor and not (mention.closed and draft[cursor - 1] == '"'):
            return mention
    lone = re.search(r"(?<!\S)@$", draft[:cursor])
    return Mention(lone.start(), cursor, "", sure=False) if lone else None


def _all(draft: str, *, whole: bool = False) -> Iterator[Mention]:
    """Yield every mention; with `whole`, punctuation at its end belongs to the path."""
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
    """Return a path as a mention, in quotes where needed; `closed` adds the closing
    quote."""
    plain = _MENTION.fullmatch(f"@{path}")
    if plain and plain["plain"] == path and path.rstrip(_BEHIND) == path:
        return f"@{path}"
    inner = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'@"{inner}"' if closed else f'@"{inner}'


def quoted(path: str, text: str) -> str:
    """Return a file under its name in a code fence longer than any backtick run in
    it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    name = visible_line(path).replace("`", "'")
    suffix = Path(path).suffix.removeprefix(".")
    kind = suffix if suffix.isalnum() else "text"
    body = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{fence}{kind} {name}\n{body}{fence}"


def files_in(text: str) -> tuple[tuple[str, int, int], ...]:
    """Return the files that are quoted at the end of a message: name, start and end of
    each, in code points."""
    files: list[tuple[str, int, int]] = []
    end = len(text)
    while match := _BLOCK.search(text, 0, end):
        files.append((match["name"], match.start("block"), end))
        end = match.start()
    return tuple(reversed(files))


def attach(draft: str, folder: Path) -> Attached:
    """Read the files that a draft names and add them to its text.

    Relative paths are relative to `folder`.

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
    """Return a draft from which `attach` makes exactly this text, without files."""
    return _BEGUN.sub("@@", text)


def plain(text: str) -> str:
    """Return a draft without mentions as it is sent: `@@` becomes `@`."""
    return _DOUBLED.sub("", text)


def _read(mention: Mention, folder: Path) -> Attachment | None:
    """Read the named file; None where a word that need not be a path names no file."""
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
        raise LmtuiError("this file can't be attached", name, hint)
    if size > LARGEST:
        raise _too_large(name, size)
    text = read_text(name, lambda: path.open("rb"))
    if len(text) > LARGEST:  # it has grown, or stat does not know its size
        raise _too_large(name, len(text))
    return Attachment(name, text.removeprefix("\ufeff"))


def _refused(name: str, error: LmtuiError) -> LmtuiError:
    """Return the reader's error with a hint that fits a message draft."""
    hint = "Name a file after the @; Tab completes. @@ is an @ that names none."
    return LmtuiError(error.title, error.detail or name, hint)


def _too_large(name: str, size: int) -> LmtuiError:
    return LmtuiError(
        "this file is too large to attach",
        f"{name}, {size:,} bytes",
        f"Attach a part of it: at most {LARGEST:,} bytes.",
    )


def completions(path: str, folder: Path) -> tuple[str, ...]:
    """Return the paths that begin like this one, folders first and with a slash.

    Empty where the folder can't be listed.
    """
    head, slash, begun = path.rpartition("/")
    shown = f"{head}{slash}"
    try:
        inside = (folder / Path(shown).expanduser()).iterdir()
        found = sorted(
            (not entry.is_dir(), entry.name.casefold(), entry.name)
            for entry in islice(inside, _LOOKED_AT)
            if _completes(entry.name, begun)
        )
    except (OSError, RuntimeError, ValueError):
        return ()
    return tuple(
        f"{shown}{name}{'' if is_file else '/'}" for is_file, _, name in found[:MOST]
    )


def _completes(name: str, begun: str) -> bool:
    """Return whether a name can be typed and begins like this, ignoring case unless a
    capital letter was typed; a hidden one is asked for by its dot."""
    hidden = name.startswith(".") and not begun.startswith(".")
    begins = (name if begun != begun.lower() else name.lower()).startswith(begun)
    return begins and name.isprintable() and not hidden

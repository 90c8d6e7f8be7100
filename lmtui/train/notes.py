"""Notes as documents: what is read of the files, and why the rest is not.

Owns what a text is here (UTF-8 without NULs, `\\n` for every line ending, no byte-order
mark, by default no front matter), the largest file, and that no content is read twice.
Knows no tokens. A file is read once, and one that is too large is not read at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from lmtui.engine.types import ChatTurn, Role
from lmtui.errors import LmtuiError
from lmtui.text import bytes_text
from lmtui.train.events import Skip
from lmtui.train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt, which is given, and how it goes on, which is learned."""

    prompt: str
    completion: str


Content = str | Completion | tuple[ChatTurn, ...]
"""A text, a prompt with its completion, or a conversation."""

_KINDS = (("messages",), ("prompt", "completion"), ("text",))
"""What tells the kinds of rows apart; the first that a row has is its kind."""

_SHOWN = 40  # code points of an unknown role


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A line that holds an example, or can't be used."""

    line: int
    """From 1 on, empty lines counted."""
    content: Content | None
    problem: str = ""
    """Why it can't be used."""


class _UnusableRow(Exception):
    """Why a row can't be used."""


def read_rows(text: str) -> Iterator[ExampleRow]:
    """The rows of a file, in order; empty lines are none."""
    # Only a newline ends a line of JSON: strings can hold the other separators.
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        if not line.strip():
            continue
        try:
            values = _object(line.rstrip("\n"))
            yield ExampleRow(number, _content(values, _kind_of(values)))
        except _UnusableRow as problem:
            yield ExampleRow(number, None, str(problem))


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise _UnusableRow(f"not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise _UnusableRow(f"not JSON that can be read: {error}") from None
    if not isinstance(values, dict):
        raise _UnusableRow("not a JSON object")
    return values


def _kind_of(values: dict[str, Any]) -> tuple[str, ...]:
    for kind in _KINDS:
        if all(key in values for key in kind):
            return kind
    raise _UnusableRow("neither messages, nor prompt and completion, nor text")


def _content(values: dict[str, Any], kind: tuple[str, ...]) -> Content:
    if kind == ("messages",):
        return _messages(values["messages"])
    texts = [_row_text(values[key], key) for key in kind]
    if not texts[-1].strip():
        raise _UnusableRow(f"{kind[-1]} is empty")
    return texts[0] if len(texts) == 1 else Completion(*texts)


def _messages(turns: Any) -> tuple[ChatTurn, ...]:
    if not isinstance(turns, list):
        raise _UnusableRow("messages is not a list")
    messages = tuple(_message(turn, place) for place, turn in enumerate(turns, 1))
    learned = (m.content for m in messages if m.role == "assistant")
    if not any(content.strip() for content in learned):
        raise _UnusableRow("no assistant message to learn from")
    return messages


def _message(turn: Any, place: int) -> ChatTurn:
    if not isinstance(turn, dict):
        raise _UnusableRow(f"message {place} is not a JSON object")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str):
        raise _UnusableRow(f"message {place} has no role")
    known = next((known for known in get_args(Role) if known == role), None)
    if known is None:
        shown = json.dumps(role[:_SHOWN])
        raise _UnusableRow(f"message {place} has the unknown role {shown}")
    return ChatTurn(known, _row_text(content, f"the content of message {place}"))


def _row_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _UnusableRow(f"{what} is not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _UnusableRow(f"{what} has an unpaired UTF-16 surrogate") from None
    return value


_NO_NOTES = frozenset({"__MACOSX", "__pycache__", "node_modules", "venv"})
"""Folders that programs fill, wherever they are."""

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class NotesFile:
    """A file that may hold notes."""

    path: Path
    """Where it is; absolute."""
    name: str
    """From the notes' root on, with slashes; what is no UTF-8 is written out."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All files that were named or found, by name."""

    root: Path
    """The folder that all names begin at; absolute."""
    files: tuple[NotesFile, ...]
    skipped: tuple[Skip, ...]


def find(places: Sequence[str | Path]) -> Sources:
    """The files that `places` name: files, folders and patterns such as `**/*.md`.

    A file that is named is taken even if it is hidden. The root is the folder that is
    named, that of a file, or that before a pattern; of several, the one they share.

    Raises:
        LmtuiError: there is nothing at one of the places, or it can't be looked at.
    """
    if not places:
        hint = "Name files, folders, or a pattern such as 'notes/**/*.md'."
        raise LmtuiError("no notes were named", "", hint)
    search = _Search()
    for place in places:
        search.look_at(str(place))
    root = Path(os.path.commonpath(search.bases))
    files = {_name(path, root): path for path in search.files}
    named = search.files.union(search.bases)
    left_out = {path: why for path, why in search.left_out.items() if path not in named}
    skips = {_name(path, root): why for path, why in (left_out | search.closed).items()}
    return Sources(
        root,
        tuple(NotesFile(path, name) for name, path in sorted(files.items())),
        tuple(Skip(name, why) for name, why in sorted(skips.items())),
    )


def _name(path: Path, root: Path) -> str:
    return bytes_text(os.fsencode(path.relative_to(root).as_posix()))


class _Search:
    """What was found so far."""

    def __init__(self) -> None:
        self.bases: list[Path] = []
        self.files: set[Path] = set()
        self.left_out: dict[Path, str] = {}
        """Why, of what nobody named."""
        self.closed: dict[Path, str] = {}
        """Folders that can't be read, and why."""

    def look_at(self, place: str) -> None:
        path = Path(os.path.abspath(os.path.expanduser(place)))
        try:
            mode = path.stat().st_mode if place else None
        except (FileNotFoundError, NotADirectoryError):
            mode = None
        except (OSError, ValueError) as error:
            raise _unseen(place, error) from error
        if mode is None:
            self._match(place, path)
        elif stat.S_ISDIR(mode):
            self.bases.append(path)
            self._walk(path)
        else:
            self.bases.append(path.parent)
            self.files.add(path)

    def _match(self, place: str, path: Path) -> None:
        """Take what a pattern matches."""
        parts = path.parts
        magic = (i for i, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
        first = next(magic, len(parts))
        base = Path(*parts[:first])
        if not place or first == len(parts) or not base.is_dir():
            hint = "Check the path."
            raise LmtuiError("there is no such file or folder", place, hint)
        if not self._expand(base, parts[first:]):
            hint = "Check the pattern; ** stands for folders at any depth."
            raise LmtuiError("nothing matches the pattern", place, hint)
        self.bases.append(base)

    def _expand(self, base: Path, pattern: tuple[str, ...]) -> bool:
        """Take what matches below a folder; whether there was anything."""
        found = False
        waiting, seen = [(base, pattern)], set[tuple[Path, int]]()
        while waiting:
            folder, parts = waiting.pop()
            if (folder, len(parts)) in seen:
                continue
            seen.add((folder, len(parts)))
            if not parts:
                self._walk(folder)
                found = True
                continue
            deep, rest = parts[0] == "**", parts[1:]
            if deep:
                waiting.append((folder, rest))
            for path, is_folder in self._entries(folder, "*" if deep else parts[0]):
                if is_folder:
                    waiting.append((path, parts if deep else rest))
                elif not (deep or rest):
                    self.files.add(path)
                    found = True
        return found

    def _walk(self, folder: Path) -> None:
        """Take all files of a folder, and of those in it."""
        waiting = [folder]
        while waiting:
            for path, is_folder in self._entries(waiting.pop()):
                if is_folder:
                    waiting.append(path)
                else:
                    self.files.add(path)

    def _entries(self, folder: Path, pattern: str = "*") -> list[tuple[Path, bool]]:
        """What of a folder has a name that fits and can hold notes, and whether it is
        a folder; what can't is noted."""
        try:
            with os.scandir(folder) as found:
                entries = [e for e in found if fnmatchcase(e.name, pattern)]
        except OSError as error:
            self.closed[folder] = f"can't be looked into ({error.strerror})"
            return []
        kept = []
        for entry in entries:
            path, is_folder = Path(entry.path), _is_folder(entry)
            hidden = entry.name.startswith(".") and not pattern.startswith(".")
            if why := _why_not(entry, is_folder=is_folder, hidden=hidden):
                self.left_out[path] = why
            else:
                kept.append((path, is_folder))
        return kept


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, for one
        return False


def _why_not(entry: os.DirEntry[str], *, is_folder: bool, hidden: bool) -> str:
    """Why something in a folder is left out; nothing where it is not."""
    if hidden:
        return "a hidden folder" if is_folder else "hidden"
    if is_folder and entry.name in _NO_NOTES:
        return "a folder of programs, not of notes"
    if is_folder and entry.is_symlink():
        return "a link to a folder; name it to read it"
    return "a backup copy" if entry.name.endswith("~") else ""


def _unseen(place: str, error: OSError | ValueError) -> LmtuiError:
    reason = getattr(error, "strerror", None) or error
    return LmtuiError(
        "can't look at the notes", f"{place} ({reason})", "Check the path."
    )


_NOTES = frozenset(
    {
        ".adoc", ".asciidoc", ".markdown", ".md", ".mdx", ".org", ".qmd", ".rmd",
        ".rst", ".tex", ".text", ".txt",
    }
)  # fmt: skip
"""Where YAML at the head of a text is about the text, and no part of it."""
_ROWS = ".jsonl"

_PART = 1 << 16  # bytes of a file that are read at once
_ROWS_NAMED = 100  # broken rows of a file that are told one by one
_NO_ROWS = "no row that can be used"
_REASONS = 20  # that are named where no text is left
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # in no text of any encoding

_FENCE = re.compile(r"---[ \t]*")
_FENCE_END = re.compile(r"(?:---|\.\.\.)[ \t]*")
_YAML_LINE = re.compile(r"""\s|#|-\s|[\]}]|["']?\w[^:]*:(?:\s|$)|$""")


@dataclass(frozen=True, slots=True)
class NotesDocument:
    """One text, or one row of a file of rows."""

    path: str
    """From the notes' root on; `file.jsonl:12` for a row."""
    content: Content
    is_row: bool = False
    """Whether it is a row, whose place in its file means nothing."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    """A file that documents were read from."""

    path: str
    sha256: str
    """Of its bytes, in hexadecimal."""
    bytes: int
    documents: int


@dataclass(frozen=True, slots=True)
class Notes:
    """All that was read, by path."""

    root: Path
    files: tuple[NoteFile, ...]
    documents: tuple[NotesDocument, ...]
    skipped: tuple[Skip, ...]
    """First what was not opened; every file and broken row, or how many more."""


def read_notes(places: Sequence[str | Path], settings: TrainSettings) -> Notes:
    """Read files, folders and what patterns match.

    Raises:
        LmtuiError: there is nothing at one of the places, or no text in any; in strict
            settings also, that a row can't be used.
    """
    found = find(places)
    reading = _Reading(settings, skipped=list(found.skipped))
    for source in found.files:
        reading.read(source)
    if not reading.documents:
        raise _nothing(found.root, reading.skipped)
    return Notes(
        found.root,
        tuple(reading.files),
        tuple(reading.documents),
        tuple(reading.skipped),
    )


class SkipReason(Exception):
    """Why a file is left out."""


@dataclass(slots=True)
class _Reading:
    """What was read so far."""

    settings: TrainSettings
    skipped: list[Skip]
    files: list[NoteFile] = field(default_factory=list)
    documents: list[NotesDocument] = field(default_factory=list)
    seen: dict[bytes, str] = field(default_factory=dict)
    """The files that were read, by the digest of what is learned from them."""

    def read(self, source: NotesFile) -> None:
        """Take a file's documents, or note why there are none."""
        try:
            data = _read(source.path, int(self.settings.max_file_mb * 1e6))
            text = self._learned(source, _text(data))
            digest = hashlib.sha256(text.encode()).digest()
            if same := self.seen.get(digest):
                raise SkipReason(f"the same as {same}")
            documents = self._documents(source, text)
        except SkipReason as why:
            self.skipped.append(Skip(source.name, str(why)))
            return
        self.seen[digest] = source.name
        sha256 = hashlib.sha256(data).hexdigest()
        self.files.append(NoteFile(source.name, sha256, len(data), len(documents)))
        self.documents += documents

    def _learned(self, source: NotesFile, text: str) -> str:
        if self.settings.front_matter == "drop" and _suffix(source) in _NOTES:
            text = without_front_matter(text)
        if not text.strip():
            raise SkipReason("empty")
        return text

    def _documents(self, source: NotesFile, text: str) -> list[NotesDocument]:
        if _suffix(source) != _ROWS:
            return [NotesDocument(source.name, text)]
        usable, broken, count = [], [], 0
        for row in read_rows(text):
            path = f"{source.name}:{row.line}"
            if row.content is not None:
                usable.append(NotesDocument(path, row.content, is_row=True))
                continue
            count += 1
            if count <= _ROWS_NAMED:
                broken.append(Skip(path, row.problem))
        if broken and self.settings.strict:
            raise _refused(broken[0], more=count - 1)
        self.skipped += broken
        if more := count - len(broken):
            self.skipped.append(Skip(source.name, f"{more:,} more broken rows"))
        if not usable:
            raise SkipReason(_NO_ROWS)
        return usable


def _read(path: Path, most: int) -> bytes:
    """The bytes of a file of at most so many; of one that is no text, the first."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SkipReason("not a regular file")
        if info.st_size > most:
            raise SkipReason(_too_large(info.st_size, most))
        data = bytearray()
        with path.open("rb") as file:
            while len(data) <= most and (part := file.read(_PART)):
                data += part
                if b"\0" in part:
                    break
    except OSError as error:
        raise SkipReason(f"can't be read ({error.strerror})") from None
    if len(data) > most:  # it has grown, or is one that stat knows nothing of
        raise SkipReason(_too_large(len(data), most))
    return bytes(data)


def _too_large(size: int, most: int) -> str:
    return f"{size / 1e6:,.1f} MB, more than {most / 1e6:,g} MB"


def _text(data: bytes) -> str:
    """What the bytes say, as every text looks here."""
    if data.startswith(_UTF16):
        raise SkipReason("UTF-16, not UTF-8")
    if b"\0" in data:
        raise SkipReason("binary")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        why = "binary" if _CONTROLS.search(data) else f"not UTF-8, byte {error.start:,}"
        raise SkipReason(why) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _suffix(source: NotesFile) -> str:
    return source.path.suffix.lower()


def without_front_matter(text: str) -> str:
    """A note without the YAML at its head: from a line `---` to one of `---` or `...`.

    What is no YAML by its looks is text between two rulers, and stays.
    """
    lines = text.split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return text
    for place, line in enumerate(lines[1:], 1):
        if _FENCE_END.fullmatch(line):
            return "\n".join(lines[place + 1 :]).lstrip("\n")
        if not _YAML_LINE.match(line) or (place == 1 and not line.strip()):
            return text
    return text


def _refused(first: Skip, *, more: int) -> LmtuiError:
    others = f", and {more:,} more" if more else ""
    return LmtuiError(
        "a file has rows that can't be used",
        f"{first.path} ({first.reason}){others}",
        "Correct or remove them, or leave --strict out to skip them.",
    )


def _nothing(root: Path, skipped: Sequence[Skip]) -> LmtuiError:
    reasons = Counter(skip.reason for skip in skipped)
    title = "there is no text to learn from"
    hint = "Name text files in UTF-8, folders of them, or .jsonl files."
    if reasons.pop(_NO_ROWS, 0):
        title = "no row of the .jsonl files can be used"
        hint = (
            "Give each row `messages`, or `prompt` and `completion`, or `text`; see "
            "`lmtui finetune --help`."
        )
    named = reasons.most_common(_REASONS)
    counted = [f"{count:,} × {reason}" for reason, count in named]
    if more := reasons.total() - sum(count for _, count in named):
        counted.append(f"{more:,} more")
    return LmtuiError(title, f"{root} ({', '.join(counted) or 'no files'})", hint)

"""Reading notes: finding files, decoding them, splitting them into documents.

Text is UTF-8 without NULs or a byte-order mark, with `\\n` line endings and by default
without front matter. A file is read once; the same content is used once; a file that is
too large is not read. Knows no tokens.
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
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from lmtui.engine.types import ChatTurn, Role
from lmtui.errors import LmtuiError
from lmtui.text import bytes_text
from lmtui.train.events import Skip
from lmtui.train.likely_secrets import secret_lines
from lmtui.train.settings import TrainSettings

_KINDS = (
    ("messages",),
    ("prompt", "completion"),
    ("conversations",),  # ShareGPT
    ("instruction", "output"),  # Alpaca, with or without `input`
    ("text",),
)
"""The keys that tell the kinds of rows apart; the first kind that fits is taken."""
_SPEAKERS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}
"""The names of roles in ShareGPT's rows that differ from our own."""
_SHOWN = 40  # code points of an unknown role
_NO_NOTES = frozenset({"__MACOSX", "__pycache__", "node_modules", "venv"})
"""Folders that programs fill; they are skipped at any depth."""
_MAGIC = frozenset("*?[")
_NOTES = frozenset(
    {
        ".adoc", ".asciidoc", ".markdown", ".md", ".mdx", ".org", ".qmd", ".rmd",
        ".rst", ".tex", ".text", ".txt",
    }
)  # fmt: skip
"""Suffixes of texts whose YAML front matter is metadata."""
_ROWS = ".jsonl"
_PART = 1 << 16  # bytes of a file that are read at once
_ROWS_NAMED = 100  # broken rows of a file that are reported one by one
_NO_ROWS = "no row that can be used"
_PDF = "PDF, which pdftotext makes a text of"
_SECRETS_NAMED = 5  # places of likely secrets that a remark lists
_REASONS = 20  # reasons listed in the error where no text is left
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # not in text of any encoding
_FENCE = re.compile(r"---[ \t]*")
_FENCE_END = re.compile(r"(?:---|\.\.\.)[ \t]*")
_YAML_LINE = re.compile(r"""\s|#|-\s|[\]}]|["']?\w[^:]*:(?:\s|$)|$""")


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt, and the completion to learn."""

    prompt: str
    completion: str


Content = str | Completion | tuple[ChatTurn, ...]
"""A text, a prompt with its completion, or a conversation."""


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A line of a `.jsonl` file: an example, or why it can't be used."""

    line: int
    """From 1 on; empty lines count."""
    content: Content | None
    problem: str = ""


class _UnusableRow(Exception):
    """Raised with the reason why a row can't be used."""


def read_rows(text: str) -> Iterator[ExampleRow]:
    """Yield the rows of a file in order, without empty lines."""
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
    raise _UnusableRow(
        "neither messages, nor prompt and completion, nor conversations, nor "
        "instruction and output, nor text"
    )


def _content(values: dict[str, Any], kind: tuple[str, ...]) -> Content:
    match kind:
        case ("messages",):
            return _messages(values["messages"], "messages")
        case ("conversations",):
            return _messages(values["conversations"], "conversations")
        case ("instruction", _):
            return _instruction(values)
    texts = [_row_text(values[key], key) for key in kind]
    if not texts[-1].strip():
        raise _UnusableRow(f"{kind[-1]} is empty")
    return texts[0] if len(texts) == 1 else Completion(*texts)


def _instruction(values: dict[str, Any]) -> tuple[ChatTurn, ...]:
    if values.get("history"):
        raise _UnusableRow("history is not read; give such rows as messages")
    names = ("system", "instruction", "input", "output")
    texts = {name: _row_text(values.get(name) or "", name) for name in names}
    if not texts["output"].strip():
        raise _UnusableRow("output is empty")
    asked = "\n".join(filter(None, (texts["instruction"], texts["input"])))
    turns = (ChatTurn("user", asked), ChatTurn("assistant", texts["output"]))
    return (ChatTurn("system", texts["system"]), *turns) if texts["system"] else turns


def _messages(turns: Any, name: str) -> tuple[ChatTurn, ...]:
    if not isinstance(turns, list):
        raise _UnusableRow(f"{name} is not a list")
    messages = tuple(_message(turn, index) for index, turn in enumerate(turns, 1))
    learned = (m.content for m in messages if m.role == "assistant")
    if not any(content.strip() for content in learned):
        raise _UnusableRow("no assistant message to learn from")
    return messages


def _message(turn: Any, index: int) -> ChatTurn:
    if not isinstance(turn, dict):
        raise _UnusableRow(f"message {index} is not a JSON object")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str):
        raise _UnusableRow(f"message {index} has no role")
    called = _SPEAKERS.get(role, role)
    known = next((known for known in get_args(Role) if known == called), None)
    if known is None:
        shown = json.dumps(role[:_SHOWN])
        raise _UnusableRow(f"message {index} has the unknown role {shown}")
    return ChatTurn(known, _row_text(content, f"the content of message {index}"))


def _row_text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _UnusableRow(f"{what} is not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _UnusableRow(f"{what} has an unpaired UTF-16 surrogate") from None
    return value


def find(
    places: Sequence[str | Path],
) -> tuple[Path, dict[str, Path], tuple[Skip, ...]]:
    """Find the files that `places` name: files, folders and patterns such as `**/*.md`.

    Returns the absolute root; the files by name, sorted; and what is left out. A name
    is the path relative to the root, with slashes; bytes that are not UTF-8 are
    escaped.

    A file that is named is taken even if it is hidden. The root is the named folder,
    the folder of a named file, or the folder before a pattern; for several places it is
    their common parent. A pattern passes over folders that can't be looked into.

    Raises:
        LmtuiError: nothing is at one of the places, or it can't be read.
    """
    if not places:
        hint = "Name files, folders, or a pattern such as 'notes/**/*.md'."
        raise LmtuiError("no notes were named", "", hint)
    named = [Path(os.path.abspath(os.path.expanduser(place))) for place in places]
    search = _Search(frozenset(named))
    bases = [search.add(str(x), path) for x, path in zip(places, named, strict=True)]
    root = Path(os.path.commonpath(bases))
    files = {_name(path, root): path for path in search.files}
    skips = {_name(path, root): why for path, why in search.left_out.items()}
    skipped = tuple(Skip(name, why) for name, why in sorted(skips.items()))
    return root, dict(sorted(files.items())), skipped


def _name(path: Path, root: Path) -> str:
    return bytes_text(os.fsencode(path.relative_to(root).as_posix()))


class _Search:
    """The files that were found; `named` are the paths that the user gave."""

    def __init__(self, named: frozenset[Path]) -> None:
        self._named = named
        self.files: set[Path] = set()
        self.left_out: dict[Path, str] = {}
        """The reason for each path that was left out."""

    def add(self, place: str, path: Path) -> Path:
        """Find the files of a place; return the folder that it was looked for in."""
        try:
            mode = path.stat().st_mode if place else None
        except (FileNotFoundError, NotADirectoryError):
            mode = None
        except (OSError, ValueError) as error:
            raise _cannot_read(place, error) from error
        if mode is None:
            return self._match(place, path)
        if stat.S_ISDIR(mode):
            self._walk(path)
            return path
        self.files.add(path)
        return path.parent

    def _match(self, place: str, path: Path) -> Path:
        parts = path.parts
        magic = (i for i, part in enumerate(parts) if not _MAGIC.isdisjoint(part))
        first = next(magic, len(parts))
        base, pattern = Path(*parts[:first]), parts[first:]
        if not (place and pattern and base.is_dir()):
            hint = "Check the path."
            raise LmtuiError("there is no such file or folder", place, hint)
        hidden = any(part.startswith(".") for part in pattern)
        try:
            found = sorted(base.glob(os.path.join(*pattern)))
        except ValueError as error:  # `**` beside other characters
            raise _cannot_read(place, error) from error
        taken = [x for x in found if self._takes(x, base, hidden=hidden)]
        for match in taken:
            if match.is_dir():
                self._walk(match)
            else:
                self.files.add(match)
        if not taken:
            hint = "Check the pattern; ** stands for folders at any depth."
            raise LmtuiError("nothing matches the pattern", place, hint)
        return base

    def _walk(self, top: Path) -> None:
        for folder, folders, names in os.walk(top, onerror=self._note_unreadable):
            here = Path(folder)
            self.files.update(p for name in names if self._takes(p := here / name))
            folders[:] = [name for name in folders if self._takes(here / name)]

    def _note_unreadable(self, error: OSError) -> None:
        reason = f"can't be looked into ({error.strerror})"
        self.left_out[Path(error.filename)] = reason

    def _takes(
        self, path: Path, base: Path | None = None, *, hidden: bool = False
    ) -> bool:
        """Return whether a path is used, and the folders between it and a base; what
        is not is noted with its reason. With `hidden`, hidden ones are."""
        between = [x for x in path.parents if base and x.is_relative_to(base)]
        for each in (*reversed(between), path):
            if each in (base, *self._named):
                continue
            if why := _skip_reason(each, hidden=hidden):
                self.left_out[each] = why
                return False
        return True


def _skip_reason(path: Path, *, hidden: bool) -> str:
    """Return why what a folder holds is left out; empty where it is not."""
    is_folder = path.is_dir()
    if path.name.startswith(".") and not hidden:
        return "a hidden folder" if is_folder else "hidden"
    if is_folder and path.name in _NO_NOTES:
        return "a folder of programs, not of notes"
    if is_folder and path.is_symlink():
        return "a link to a folder; name it to read it"
    return "a backup copy" if path.name.endswith("~") else ""


def _cannot_read(pattern: str, error: OSError | ValueError) -> LmtuiError:
    reason = getattr(error, "strerror", None) or error
    return LmtuiError(
        "the notes can't be read", f"{pattern} ({reason})", "Check the path."
    )


@dataclass(frozen=True, slots=True)
class NotesDocument:
    """One text, or one row of a `.jsonl` file."""

    path: str
    """Relative to the notes' root; `file.jsonl:12` for a row."""
    content: Content
    is_row: bool = False
    """Whether it is a row; a row's line number does not identify it."""


@dataclass(frozen=True, slots=True)
class NoteFile:
    path: str
    sha256: str
    """Hexadecimal digest of the file's bytes."""
    bytes: int
    documents: int


@dataclass(frozen=True, slots=True)
class Notes:
    """All documents that were read, sorted by path."""

    root: Path
    files: tuple[NoteFile, ...]
    documents: tuple[NotesDocument, ...]
    skipped: tuple[Skip, ...]
    """First the files that were not opened, then files and rows; a count for the
    rest."""
    remarks: tuple[str, ...] = ()
    """Remarks for the user about what was read."""


def read_notes(places: Sequence[str | Path], settings: TrainSettings) -> Notes:
    """Read files, folders and the matches of patterns.

    Raises:
        LmtuiError: nothing is at one of the places, or none of the files has text; with
            `strict`, also that a row can't be used.
    """
    root, files, skipped = find(places)
    reading = _NotesReader(settings, skipped=list(skipped))
    of_files = {name: _NotesReader(settings, seen=reading.seen) for name in files}
    # Of equal files the first one that is read is used: the original's name is shorter
    # than that of "copy of" it. The order of the documents stays that of the names.
    for name in sorted(files, key=lambda name: (len(name), name)):
        of_files[name].read(name, files[name])
    for of_file in of_files.values():
        reading.add(of_file)
    if not reading.documents:
        raise _nothing(root, reading.skipped)
    return Notes(
        root,
        tuple(reading.files),
        tuple(reading.documents),
        tuple(reading.skipped),
        tuple(reading.remarks()),
    )


class SkipReason(Exception):
    """Raised with the reason why a file is left out."""


@dataclass(slots=True)
class _NotesReader:
    """The documents, files and skips read from some files."""

    settings: TrainSettings
    skipped: list[Skip] = field(default_factory=list)
    files: list[NoteFile] = field(default_factory=list)
    documents: list[NotesDocument] = field(default_factory=list)
    seen: dict[bytes, str] = field(default_factory=dict)
    """The names of the files that were read, by the digest of their text."""
    secrets: list[str] = field(default_factory=list)
    """The places of likely secrets: `diary.md:7`."""

    def add(self, other: _NotesReader) -> None:
        self.skipped += other.skipped
        self.files += other.files
        self.documents += other.documents
        self.secrets += other.secrets

    def remarks(self) -> Iterator[str]:
        """Yield remarks about what was read; a secret itself is never told."""
        tables = [
            file.path for file in self.files if file.path.endswith((".csv", ".tsv"))
        ]
        if tables:
            more = f" and {len(tables) - 1:,} more" if tables[1:] else ""
            yield (
                f"{tables[0]}{more}: read as plain text; for its rows, convert it to "
                ".jsonl"
            )
        if self.secrets:
            count = len(self.secrets)
            looks = (
                "line looks like a key or password"
                if count == 1
                else ("lines look like keys or passwords")
            )
            named = ", ".join(self.secrets[:_SECRETS_NAMED])
            more = ", …" if count > _SECRETS_NAMED else ""
            yield f"{count:,} {looks} that would be learned: {named}{more}"

    def read(self, name: str, path: Path) -> None:
        """Add a file's documents, or note why it is left out."""
        try:
            data = _read(path, int(self.settings.max_file_mb * 1e6))
            decoded = _text(data)
            text = self._without_front_matter(path, decoded)
            digest = hashlib.sha256(text.encode()).digest()
            if same := self.seen.get(digest):
                raise SkipReason(f"the same as {same}")
            documents = self._documents(name, text)
        except SkipReason as why:
            self.skipped.append(Skip(name, str(why)))
            return
        self.seen[digest] = name
        sha256 = hashlib.sha256(data).hexdigest()
        self.files.append(NoteFile(name, sha256, len(data), len(documents)))
        self.documents += documents
        dropped = decoded.count("\n") - text.count("\n")  # lines of front matter
        for document in documents:
            lines = list(secret_lines(_full_text(document.content)))
            if document.is_row:
                self.secrets += [document.path] if lines else []
            else:
                self.secrets += [f"{name}:{dropped + line}" for line in lines]

    def _without_front_matter(self, path: Path, text: str) -> str:
        if self.settings.front_matter == "drop" and path.suffix.lower() in _NOTES:
            text = without_front_matter(text)
        if not text.strip():
            raise SkipReason("empty")
        return text

    def _documents(self, name: str, text: str) -> list[NotesDocument]:
        if Path(name).suffix.lower() != _ROWS:
            return [NotesDocument(name, text)]
        usable, broken, count = [], [], 0
        for row in read_rows(text):
            path = f"{name}:{row.line}"
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
            self.skipped.append(Skip(name, f"{more:,} more broken rows"))
        if not usable:
            raise SkipReason(_NO_ROWS)
        return usable


def _full_text(content: Content) -> str:
    match content:
        case str(text):
            return text
        case Completion() as row:
            return f"{row.prompt}\n{row.completion}"
        case turns:
            return "\n".join(turn.content for turn in turns)


def _read(path: Path, limit: int) -> bytes:
    """Return a file's bytes, at most `limit`; of a binary file, only its beginning."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise SkipReason("not a regular file")
        if info.st_size > limit:
            raise SkipReason(_too_large(info.st_size, limit))
        data = bytearray()
        with path.open("rb") as file:
            while len(data) <= limit and (part := file.read(_PART)):
                data += part
                if b"\0" in part:
                    break
    except OSError as error:
        raise SkipReason(f"can't be read ({error.strerror})") from None
    if len(data) > limit:  # it has grown, or stat does not know its size
        raise SkipReason(_too_large(len(data), limit))
    return bytes(data)


def _too_large(size: int, limit: int) -> str:
    return f"{size / 1e6:,.1f} MB, more than {limit / 1e6:,g} MB"


def _text(data: bytes) -> str:
    """Decode bytes to text without a byte-order mark and with `\\n` line endings."""
    if data.startswith(_UTF16):
        raise SkipReason("UTF-16, not UTF-8")
    if data.startswith(b"%PDF-"):
        raise SkipReason(_PDF)
    if b"\0" in data:
        raise SkipReason("binary")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        why = "binary" if _CONTROLS.search(data) else f"not UTF-8, byte {error.start:,}"
        raise SkipReason(why) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def without_front_matter(text: str) -> str:
    """Return a note without its YAML front matter.

    Front matter lies between a first line `---` and a line `---` or `...`. Lines that
    don't look like YAML are text between two rules, and stay.
    """
    lines = text.split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return text
    for index, line in enumerate(lines[1:], 1):
        if _FENCE_END.fullmatch(line):
            return "\n".join(lines[index + 1 :]).lstrip("\n")
        if not _YAML_LINE.match(line) or (index == 1 and not line.strip()):
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
    elif _PDF in reasons:
        hint = "Convert PDF files first, for example: pdftotext FILE.pdf"
    named = reasons.most_common(_REASONS)
    counted = [f"{count:,} × {reason}" for reason, count in named]
    if more := reasons.total() - sum(count for _, count in named):
        counted.append(f"{more:,} more")
    return LmtuiError(title, f"{root} ({', '.join(counted) or 'no files'})", hint)

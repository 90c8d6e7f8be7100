"""Notes as documents: what is read of the files, and why the rest is not.

Owns what a text is here (UTF-8 without NULs, `\\n` for every line ending, no byte-order
mark, by default no front matter), the largest file, and that no content is read twice.
Knows no tokens. A file is read once, and one that is too large is not read at all.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.train.events import Skip
from lmtui.train.rows import Completion as Completion
from lmtui.train.rows import Content, read_rows
from lmtui.train.settings import TrainSettings
from lmtui.train.sources import Source, find

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
class Document:
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
    documents: tuple[Document, ...]
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


class _Unusable(Exception):
    """Why a file is left out."""


@dataclass(slots=True)
class _Reading:
    """What was read so far."""

    settings: TrainSettings
    skipped: list[Skip]
    files: list[NoteFile] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    seen: dict[bytes, str] = field(default_factory=dict)
    """The files that were read, by the digest of what is learned from them."""

    def read(self, source: Source) -> None:
        """Take a file's documents, or note why there are none."""
        try:
            data = _read(source.path, int(self.settings.max_file_mb * 1e6))
            text = self._learned(source, _text(data))
            digest = hashlib.sha256(text.encode()).digest()
            if same := self.seen.get(digest):
                raise _Unusable(f"the same as {same}")
            documents = self._documents(source, text)
        except _Unusable as why:
            self.skipped.append(Skip(source.name, str(why)))
            return
        self.seen[digest] = source.name
        sha256 = hashlib.sha256(data).hexdigest()
        self.files.append(NoteFile(source.name, sha256, len(data), len(documents)))
        self.documents += documents

    def _learned(self, source: Source, text: str) -> str:
        if self.settings.front_matter == "drop" and _suffix(source) in _NOTES:
            text = without_front_matter(text)
        if not text.strip():
            raise _Unusable("empty")
        return text

    def _documents(self, source: Source, text: str) -> list[Document]:
        if _suffix(source) != _ROWS:
            return [Document(source.name, text)]
        usable, broken, count = [], [], 0
        for row in read_rows(text):
            path = f"{source.name}:{row.line}"
            if row.content is not None:
                usable.append(Document(path, row.content, is_row=True))
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
            raise _Unusable(_NO_ROWS)
        return usable


def _read(path: Path, most: int) -> bytes:
    """The bytes of a file of at most so many; of one that is no text, the first."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise _Unusable("not a regular file")
        if info.st_size > most:
            raise _Unusable(_too_large(info.st_size, most))
        data = bytearray()
        with path.open("rb") as file:
            while len(data) <= most and (part := file.read(_PART)):
                data += part
                if b"\0" in part:
                    break
    except OSError as error:
        raise _Unusable(f"can't be read ({error.strerror})") from None
    if len(data) > most:  # it has grown, or is one that stat knows nothing of
        raise _Unusable(_too_large(len(data), most))
    return bytes(data)


def _too_large(size: int, most: int) -> str:
    return f"{size / 1e6:,.1f} MB, more than {most / 1e6:,g} MB"


def _text(data: bytes) -> str:
    """What the bytes say, as every text looks here."""
    if data.startswith(_UTF16):
        raise _Unusable("UTF-16, not UTF-8")
    if b"\0" in data:
        raise _Unusable("binary")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        why = "binary" if _CONTROLS.search(data) else f"not UTF-8, byte {error.start:,}"
        raise _Unusable(why) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _suffix(source: Source) -> str:
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

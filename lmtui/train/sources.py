"""Which files are notes: files, folders and patterns become one list of files.

Owns what is left out of a folder (hidden, no notes, backup copies, links to folders)
and where the notes' root is. Looks at folders and opens no file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.text import bytes_text
from lmtui.train.events import Skip

_NO_NOTES = frozenset({"__MACOSX", "__pycache__", "node_modules", "venv"})
"""Folders that programs fill, wherever they are."""

_MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Source:
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
    files: tuple[Source, ...]
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
        tuple(Source(path, name) for name, path in sorted(files.items())),
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

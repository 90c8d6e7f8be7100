"""The line of the editor's file: its name and format, and where the cursor is.

Names from outside have control characters made visible. Knows no file and no screen.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.reactive import reactive

from lmtui.notation import counted
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import Forms, clip, fit_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines


@dataclass(frozen=True, slots=True)
class FileStatus:
    name: str = ""
    modified: bool = False
    read_only: bool = False
    change: str = ""
    """What another program did to the file; "" for nothing."""
    endings: str = "LF"
    """The line endings: LF, CRLF, CR or mixed."""
    encoding: str = "UTF-8"
    bom: bool = False
    line: int = 1
    column: int = 1
    words: int = 0
    characters: int = 0
    selected: int = 0
    context_files: int = 0


class FileLine(StyledLines):
    DEFAULT_CSS = """
    FileLine { height: 1; padding: 0 1; color: $foreground; background: $surface; }
    """

    status: reactive[FileStatus] = reactive(FileStatus())

    def lines(self, width: int, height: int) -> list[Line]:
        return [[(fit_best(forms(self.status), width)[0], "")]]


def forms(status: FileStatus) -> Forms:
    mark = "● " if status.modified else ""
    name = mark + visible_line(status.name or "new file")
    location = f"line {status.line:,}, column {status.column:,}"
    short = f"{status.line}:{status.column}"
    size = (counted(status.words, "word"), counted(status.characters, "character"))
    unusual = _format(status, plain=False)
    notes = ["read-only"] if status.read_only else []
    notes += [status.change] if status.change else []
    if status.context_files:
        notes.append(f"{counted(status.context_files, 'file')} read first")
    if status.selected:
        notes.append(f"{status.selected:,} selected")
    return (
        (name, *notes, location, *size, *_format(status, plain=True)),
        (name, *notes, location, *size, *unusual),
        (name, *notes, location, size[0], *unusual),
        (name, *notes, short, size[0], *unusual),
        (name, *notes, short, *unusual),
        (name, *notes, short),
        (clip(name, 24), short),
    )


def _format(status: FileStatus, *, plain: bool) -> tuple[str, ...]:
    """Return encoding, line endings and byte-order mark; unless `plain`, without LF,
    which most files have. UTF-8 is not named."""
    usual = FileStatus()
    mixed = status.endings == "mixed"
    endings = "mixed line endings" if mixed else status.endings
    is_usual = status.encoding == usual.encoding
    return (
        *([] if is_usual else [status.encoding]),
        *([endings] if plain or status.endings != usual.endings else []),
        *(["BOM"] if status.bom and is_usual else []),
    )

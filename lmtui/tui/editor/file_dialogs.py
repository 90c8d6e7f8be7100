"""Questions of the editor about its file, each as a dialog.

The program opens the one about recovered text by itself, the others where saving or
leaving was `asked` for. Knows no editor.
"""

from __future__ import annotations

import time
from difflib import unified_diff
from itertools import islice
from pathlib import Path

from textual.content import Content

from lmtui.editing.recovery import Recovered
from lmtui.editing.text_file import FileChange, TextFile
from lmtui.notation import counted
from lmtui.tui.dialogs import Choice, ConfirmDialog, PageScreen
from lmtui.tui.widgets.cells import clip

_STYLES = {"@": "$accent", " ": "", "-": "$error", "+": "$success", "…": "$quiet"}
_DIFF_LINES = 2000
_WIDTH = 500  # cells of a line of a diff


def about_recovered(file: TextFile, recovered: Recovered) -> ConfirmDialog:
    stamp = file.stamp
    size, kept = (counted(len(each.text), "character") for each in (file, recovered))
    on_disk = f"{time_words(stamp.modified)}, {size}" if stamp else ""
    details = [
        f"{file.name} was edited and not saved before the program ended.",
        f"kept    {time_words(recovered.time)}, {kept}",
        f"file    {on_disk or 'is not on disk'}",
    ]
    if recovered.base != file.digest:
        details.append("The file has changed since that text was begun.")
    choices = [
        Choice("r", "Recover", "open the recovered text"),
        Choice("v", "View diff", "compare the file with the recovered text"),
        Choice("d", "Discard", "delete that text and open the file"),
        Choice("l", "Later", "open the file; ask again next time"),
    ]
    return ConfirmDialog("There is unsaved text", details, choices, harmless="l")


def about_change(file: TextFile, change: FileChange, *, asked: bool) -> ConfirmDialog:
    gone = change.kind == "gone"
    before = time_words(change.before) if change.before else "it was not there"
    now = time_words(change.now) if change.now else "it is not there"
    details = [
        f"{file.name} was {'deleted' if gone else 'changed'} by another program.",
        f"as opened    {before}",
        f"on disk now  {now}",
    ]
    choices = [
        Choice("o", "Overwrite", "replace the file with your text"),
        Choice("n", "Save as", "save your text in another file; keep both"),
        Choice("c", "Cancel", "keep editing; nothing is saved"),
    ]
    if gone:
        choices[:2] = [
            Choice("o", "Write it again", "save your text under the same name"),
            Choice("n", "Save as", "save your text in another file"),
        ]
    if change.kind == "changed":
        choices[2:2] = [
            Choice("r", "Reload", "load the file; Ctrl+Z restores your text"),
            Choice("v", "View diff", "compare the file on disk with your text"),
        ]
    title = "The file was deleted" if gone else "The file has changed on disk"
    return ConfirmDialog(title, details, choices, harmless="c", asked=asked)


def diff_page(
    file: TextFile, on_disk: str, text: str, *, whose: str = "your text"
) -> PageScreen:
    title = f"{file.name}: - on disk, + {whose}"
    return PageScreen(title, diff_words(on_disk, text))


def diff_words(on_disk: str, text: str) -> Content:
    diff = unified_diff(on_disk.split("\n"), text.split("\n"), lineterm="")
    lines = list(islice(diff, 2, _DIFF_LINES + 3))  # without the names of the files
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = ["… there are more differences"]
    if not lines:
        words = "The lines are equal; only their endings differ."
        return Content.styled(words, "$quiet")
    styled = (Content.styled(clip(line, _WIDTH), _STYLES[line[0]])
             for line in lines)  # fmt: skip
    return Content("\n").join(styled)


def about_existing(path: Path, *, asked: bool) -> ConfirmDialog:
    choices = [
        Choice("o", "Overwrite", "replace that file with your text"),
        Choice("n", "Other name", "choose a different name"),
        Choice("c", "Cancel", "keep editing; nothing is saved"),
    ]
    title, details = "The file already exists", [str(path)]
    return ConfirmDialog(title, details, choices, harmless="c", asked=asked)


def about_unsaved(file: TextFile) -> ConfirmDialog:
    save = Choice("s", "Save", "save the file and leave")
    if file.read_only:
        save = Choice("n", "Save as", "save your text in another file and leave")
    choices = [
        save,
        Choice("d", "Discard", "leave without saving"),
        Choice("c", "Cancel", "keep editing"),
    ]
    title, details = "Leave without saving?", [f"{file.name} has unsaved changes."]
    if file.read_only:
        details.append("It is read-only.")
    return ConfirmDialog(title, details, choices, harmless="c", asked=True)


def time_words(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))

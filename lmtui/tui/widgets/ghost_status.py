"""What the status line says of a suggestion: why it ended, or why there is none.

Owns the words, which get fewer where there is less room. Knows no widget and no model.
"""

from __future__ import annotations

from lmtui.engine.ghost import GhostEnd
from lmtui.tui.widgets.cells import pack_best

_WIDEST = 160  # cells

_ENDS = {
    GhostEnd.STOP: "end token",
    GhostEnd.LENGTH: "max tokens",
    GhostEnd.NEWLINE: "newline",
    GhostEnd.TIME: "time limit",
    GhostEnd.UNSURE: "low confidence",
    GhostEnd.REPEATS: "repeats what follows",
    GhostEnd.CONTEXT: "context full",
    GhostEnd.CANCELLED: "interrupted",
    GhostEnd.NOTHING: "no whole word",
}


def ghost_words(
    end: GhostEnd,
    *,
    shown: bool = True,
    multi_line: bool = False,
    infill: bool = False,
    window: tuple[int, int] | None = None,
    total: int = 0,
    width: int = _WIDEST,
) -> str:
    """Why a suggestion ended, or is not `shown`, and how it was made, in `width` cells.

    `window` is the first token that was read and the first that was not, of `total`.
    """
    why = f"{'ghost' if shown else 'no ghost'}: {_ENDS[end]}"
    mode = "multi-line" if multi_line else "single line"
    read = "left and right context" if infill else "left context only"
    where = _where(window, total)
    forms = ((why, mode, read, *where), (why, read, *where), (why, *where), (why,))
    return pack_best(forms, width)[0]


def _where(window: tuple[int, int] | None, total: int) -> tuple[str, ...]:
    """The window, if it is not the whole text; the last number is in it."""
    if window is None or (window[0] == 0 and window[1] >= total):
        return ()
    first, end = window
    return (f"window {first:,}–{max(first, end - 1):,} of {total:,}",)

"""Status texts about a suggestion: why it ended, or why there is none.

Knows no widget and no model.
"""

from __future__ import annotations

from lmtui.engine.document.suggestion import SuggestionEnd, SuggestionRules
from lmtui.tui.widgets.cells import fit_best

_WIDEST = 160  # cells

_SHORT = {"single": "line", "multi": "lines", "off": "off"}
_STOPPED = {
    SuggestionEnd.LENGTH,
    SuggestionEnd.TIME,
    SuggestionEnd.UNSURE,
    SuggestionEnd.CONTEXT,
}

_MODES = {"single": "to the end of the line", "multi": "several lines", "off": "off"}


def mode_words(mode: str) -> str:
    return _MODES[mode]


def short_mode(mode: str) -> str:
    return _SHORT[mode]


def ghost_words(
    end: SuggestionEnd,
    *,
    rules: SuggestionRules | None = None,
    shown: bool = True,
    multi_line: bool = False,
    infill: bool = False,
    window: tuple[int, int] | None = None,
    total: int = 0,
    width: int = _WIDEST,
) -> str:
    """Return why a suggestion ended, or is not `shown`, and how it was made.

    `rules` are the suggestion rules in force. `window` is the first token that was read
    and the one behind the last, out of `total`. The text is at most `width` cells wide.
    """
    stopped = "ghost stopped" if end in _STOPPED else "ghost"
    reason = f"{stopped if shown else 'no ghost'}: {end}"
    if end is SuggestionEnd.UNSURE and rules is not None and rules.min_prob:
        reason += f" (p < {rules.min_prob:g})"
    can_force = end is SuggestionEnd.UNSURE and not shown
    more = ("Ctrl+Space shows it",) if can_force else ()
    mode = "several lines" if multi_line else "one line"
    read = "reads both sides" if infill else "reads left context only"
    where = _window_text(window, total)
    forms = (
        (reason, *more, mode, read, *where),
        (reason, *more, read, *where),
        (reason, *more, *where),
        (reason,),
    )
    return fit_best(forms, width)[0]


def _window_text(window: tuple[int, int] | None, total: int) -> tuple[str, ...]:
    """Return the window, unless it is the whole text; the last number is inclusive."""
    if window is None or (window[0] == 0 and window[1] >= total):
        return ()
    first, end = window
    return (f"window {first:,}–{max(first, end - 1):,} of {total:,}",)

"""Status texts about a suggestion: why it ended, or why there is none.

Knows no widget and no model.
"""

from __future__ import annotations

from lmtui.engine.document.suggestion import SuggestionEnd, SuggestionRules

MODES = {"single": "to the end of the line", "multi": "several lines", "off": "off"}
SHORT_MODES = {"single": "line", "multi": "lines", "off": "off"}
_STOPPED = {
    SuggestionEnd.LENGTH,
    SuggestionEnd.TIME,
    SuggestionEnd.UNSURE,
    SuggestionEnd.CONTEXT,
}


def ghost_words(
    end: SuggestionEnd,
    *,
    rules: SuggestionRules | None = None,
    shown: bool = True,
    multi_line: bool = False,
    infill: bool = False,
    window: tuple[int, int] | None = None,
    total: int = 0,
) -> str:
    """Return why a suggestion ended, or is not `shown`, and how it was made.

    `rules` are the suggestion rules in force. `window` is the first token that was read
    and the one behind the last, out of `total`; it is left out where it is the whole
    text.
    """
    stopped = "ghost stopped" if end in _STOPPED else "ghost"
    words = [f"{stopped if shown else 'no ghost'}: {end}"]
    if end is SuggestionEnd.UNSURE and rules is not None and rules.min_prob:
        words[0] += f" (p < {rules.min_prob:g})"
    if end is SuggestionEnd.UNSURE and not shown:
        words.append("Ctrl+Space shows it")
    words.append("several lines" if multi_line else "one line")
    words.append("reads both sides" if infill else "reads left context only")
    if window is not None and (window[0] or window[1] < total):
        first, beyond = window
        last = max(first, beyond - 1)
        words.append(f"window {first:,}–{last:,} of {total:,}")
    return " · ".join(words)

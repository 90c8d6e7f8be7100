"""Options of the editor: the file, suggestion rules and the surprise threshold.

Set from the command line and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lmtui.editing.recovery import Recovered
from lmtui.editing.text_file import TextFile
from lmtui.engine.suggestion import SuggestionRules


@dataclass(frozen=True, slots=True)
class Writing:
    """The text to edit, and how."""

    file: TextFile
    cursor: int = 0
    """The first offset of the cursor, in code points."""
    recovered: Recovered | None = None
    """A recovery copy left by a killed program, to be offered."""
    rules: SuggestionRules = field(default_factory=SuggestionRules)
    delay: float = 0.15
    """Seconds without a key before a suggestion is requested."""
    surprise_bits: float = 10.0
    """Surprisal in bits from which a word counts as a surprise."""

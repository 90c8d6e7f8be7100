"""How an editor is set up: the file, and what counts as a suggestion or a surprise.

Values only; they come from the command line and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lmtui.editing.recovery import Recovered
from lmtui.editing.text_file import TextFile
from lmtui.engine.suggestion import SuggestionRules


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be edited, and how."""

    file: TextFile
    cursor: int = 0
    """Where the cursor stands at first, in code points."""
    recovered: Recovered | None = None
    """Text that a killed program left, to be offered."""
    rules: SuggestionRules = field(default_factory=SuggestionRules)
    delay: float = 0.15
    """Seconds without a key before a suggestion is asked for."""
    surprise_bits: float = 10.0
    """From how many bits on a word counts as a surprise."""

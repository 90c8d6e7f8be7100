"""Options of the editor: the file, suggestion rules and other settings.

Set from the command line and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lmtui.editing.recovery import Recovered
from lmtui.editing.text_file import TextFile
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.document.types import ContextFile
from lmtui.engine.sampling.recommended import SamplingFor
from lmtui.engine.sampling_settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Writing:
    file: TextFile
    cursor: int = 0
    """The first offset of the cursor, in code points."""
    recovered: Recovered | None = None
    """A recovery copy left by a killed program, to be offered."""
    rules: SuggestionRules = field(default_factory=SuggestionRules)
    context: tuple[ContextFile, ...] = ()
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """How versions are drawn."""
    sampling_for: SamplingFor | None = None
    """Returns the same with what a model recommends; None where all of it is set."""

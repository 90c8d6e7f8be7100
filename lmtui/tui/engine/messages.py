"""Messages of the program: load progress, choices, and the engine's answers.

An answer names its request: `revision` for what is shown live, `job` for work that is
followed to its end. Knows no widget and no engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from textual.message import Message

from lmtui.engine.suggestion import Suggestion
from lmtui.engine.types import (
    Capabilities,
    CursorPrediction,
    Distribution,
    Encoding,
    EngineInfo,
    GenerationResult,
    Prompt,
    Replacement,
    ScoredSpan,
    ScoredToken,
    Step,
    TokenMatches,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.tui.inspector.source import InspectSource

Post = Callable[[Message], object]
"""Takes messages for a screen, from any thread, and never blocks."""


@dataclass
class ModelFact(Message):
    """Base of the messages about loading a model."""

    load: int = field(default=0, kw_only=True)
    """Which of the loads of this program it belongs to."""


@dataclass
class ModelLoadProgressed(ModelFact):
    """Progress of a load; `done` is None where nothing can be counted."""

    what: str
    done: int | None = None
    total: int | None = None
    unit: str = "bytes"


@dataclass
class ModelLoadWarned(ModelFact):
    """Warning for the user that came up during a load."""

    what: str


@dataclass
class ModelLoaded(ModelFact):
    """A model is ready; handles and ids of the one before are invalid."""

    info: EngineInfo
    capabilities: Capabilities = field(default_factory=Capabilities)
    against: EngineInfo | None = None
    """The model that it is compared with, if any."""


@dataclass
class ModelFailed(ModelFact):
    """A model could not be loaded, and there is none now."""

    error: LmtuiError


@dataclass
class ModelChosen(Message):
    """The user wants another model or adapter, or the same again."""

    ref: ModelRef


@dataclass
class AdapterChosen(Message):
    """The user wants to use an adapter that a training run made."""

    ref: ModelRef
    screen: Literal["chat", "complete"]
    """The screen to use it on."""


@dataclass
class FileChosen(Message):
    """The user wants to see a file as tokens."""

    path: Path


@dataclass
class SubjectChosen(Message):
    """The user wants to inspect a text that is shown elsewhere."""

    subject: InspectSource


@dataclass
class DraftScored(Message):
    """Distribution after a draft, with the draft's own tokens, the sum of their
    logprobs in nats, and how many tokens stand before."""

    revision: int
    distribution: Distribution
    tokens: tuple[ScoredToken, ...]
    logprob: float
    before: int


@dataclass
class DraftFailed(Message):
    """A draft could not be looked at."""

    revision: int
    error: LmtuiError


@dataclass
class TextsCounted(Message):
    """Token count of each text; empty where it can't be told."""

    revision: int
    tokens: tuple[int, ...]


@dataclass
class PreviewReady(Message):
    """An earlier distribution was drawn again under other settings."""

    revision: int
    distribution: Distribution


@dataclass
class PreviewFailed(Message):
    """An earlier distribution could not be drawn again."""

    revision: int
    error: LmtuiError


@dataclass
class GenerationStarted(Message):
    """A conversation was laid out as the prompt that the model now reads."""

    job: int
    prompt: Prompt
    left_out: int = 0
    """How many of its messages are not in it, for want of room."""


@dataclass
class PromptProgressed(Message):
    """Of the prompt's `total` tokens, `done` were read."""

    job: int
    done: int
    total: int


@dataclass
class StepsArrived(Message):
    """Decode steps since the last report."""

    job: int
    steps: tuple[Step, ...]


@dataclass
class GenerationFinished(Message):
    """A generation ended, of itself or because it was stopped."""

    job: int
    finish: GenerationResult


@dataclass
class GenerationFailed(Message):
    """A generation broke off; the steps that arrived before stay true."""

    job: int
    error: LmtuiError


@dataclass
class DocumentTokenized(Message):
    """A document was cut into tokens, which can be scored in these windows."""

    job: int
    encoding: Encoding
    windows: Windows
    tokens: tuple[ScoredToken, ...]
    """Without numbers."""


@dataclass
class ScoresArrived(Message):
    """Tokens of a document that were scored since the last report. Tokens of a part
    that had to be begun anew come again."""

    job: int
    tokens: tuple[ScoredToken, ...]


@dataclass
class TokensScored(Message):
    """All tokens of a given text, or of a part of a document, were scored."""

    job: int
    tokens: tuple[ScoredToken, ...]


@dataclass
class ScoreFailed(Message):
    """A given text could not be scored."""

    job: int
    error: LmtuiError


@dataclass
class JobDropped(Message):
    """A job was given up without a result: stopped, or displaced by a newer one."""

    job: int


@dataclass
class PredictionReady(Message):
    """Prediction at the cursor."""

    revision: int
    prediction: CursorPrediction


@dataclass
class PredictionFailed(Message):
    """Error in place of the prediction at the cursor."""

    revision: int
    error: LmtuiError


@dataclass
class SuggestionGrew(Message):
    """Growing suggestion: `text` only ever gets longer."""

    job: int
    text: str


@dataclass
class SuggestionEnded(Message):
    """Complete suggestion, or the reason that there is none."""

    job: int
    suggestion: Suggestion


@dataclass
class AlternativesReady(Message):
    """Several suggestions for one place, the most probable beginning first."""

    job: int
    suggestions: tuple[Suggestion, ...]


@dataclass
class SpanScored(Message):
    """Scored tokens of a text."""

    job: int
    span: ScoredSpan


@dataclass
class SpanFinished(Message):
    """All tokens that were asked for are scored."""

    job: int


@dataclass
class ReplacementsReady(Message):
    """Replacements for a word."""

    job: int
    replacements: tuple[Replacement, ...]


@dataclass
class ReplacementsProgressed(Message):
    """Progress of scoring the candidates for a replacement."""

    job: int
    done: int
    total: int


@dataclass
class EditorRequestFailed(Message):
    """A suggestion, alternatives, scores or replacements could not be had."""

    job: int
    error: LmtuiError


@dataclass
class PositionReady(Message):
    """Distribution at a position."""

    revision: int
    distribution: Distribution


@dataclass
class PositionFailed(Message):
    """Error in place of the distribution at a position."""

    revision: int
    error: LmtuiError


@dataclass
class TokensMatched(Message):
    """Tokens whose text matches a search, with their ranks."""

    revision: int
    matches: TokenMatches


@dataclass
class MatchFailed(Message):
    """Error of a search for tokens."""

    revision: int
    error: LmtuiError


@dataclass
class ContinuationsReady(Message):
    """Continuations of several candidate tokens."""

    job: int
    continuations: tuple[tuple[ScoredToken, ...], ...]


@dataclass
class ContinuationsFailed(Message):
    """Error of a look-ahead after several candidate tokens."""

    job: int
    error: LmtuiError

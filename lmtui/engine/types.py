"""The values that leave the engine.

Frozen, torch-free and complete: a screen, a file or a test can keep them. Knows
nothing of models, terminals or chats. Names follow the field: `logprob` is the
natural-log softmax of the raw logits at temperature 1, `prob` its exponential,
`sampled_prob` the probability under the distribution actually drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from lmtui.errors import LmtuiError

Role = Literal["system", "user", "assistant"]

Cut = Literal["k", "p", "m", "g"]
"""The stage that removed a token: top-k, top-p, min-p, or greedy (not the argmax)."""


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One turn of a conversation, as text."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next token is drawn: penalty, temperature, top-k, top-p, min-p."""

    temperature: float = 0.7
    """Divides the logits; 0 takes the most probable token."""
    top_k: int = 40
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the smallest set of tokens with this much mass; 1 keeps all."""
    min_p: float = 0.05
    """Drop tokens below this fraction of the top token's probability; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Weakens tokens already in the context by this factor; 1 changes nothing."""
    seed: int | None = None
    """Seed of the private random generator; None draws a new one each time."""
    max_tokens: int = 1024
    """Stop after this many tokens."""

    def __post_init__(self) -> None:
        _require("temperature", self.temperature, 0, math.inf)
        _require("top-k", self.top_k, 0, math.inf)
        _require("top-p", self.top_p, 0, 1)
        _require("min-p", self.min_p, 0, 1)
        _require("repetition-penalty", self.repetition_penalty, 0.01, 100)
        _require("max-tokens", self.max_tokens, 1, math.inf)
        if self.seed is not None:
            _require("seed", self.seed, 0, 2**63 - 1)


def _require(name: str, value: float, low: float, high: float) -> None:
    """Refuse a setting outside [low, high]; infinity itself is outside, as is NaN."""
    if low <= value <= high and math.isfinite(value):
        return
    bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    raise LmtuiError(f"{name} is out of range", f"{value:g}", f"Give a value {bounds}.")


class Candidate(NamedTuple):
    """One row of a distribution: a token the model could choose.

    A tuple, because it is quickly made: there are twenty for every token.
    """

    id: int
    text: str
    """What its bytes say; bytes that are no whole character show as `⟨E3 81⟩`."""
    bytes: bytes
    logprob: float
    """Natural log, full vocabulary, temperature 1, no filter."""
    sampled_prob: float | None = None
    """Probability under the distribution drawn from, 0 when cut; None where a text is
    scored and nothing is drawn."""
    cut: Cut | None = None
    """The stage that removed it, or None while it can be drawn."""

    @property
    def prob(self) -> float:
        """The model's own probability."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The model's expectation of one next token, and what the sampler makes of it."""

    candidates: tuple[Candidate, ...]
    """Consecutive rows of the ranking by (-logit, id), from rank index `start`."""
    start: int
    """Rank index, from 0, of the first row."""
    vocabulary: int
    """Number of tokens the model can choose from."""
    rest_prob: float
    """Probability of all tokens not among the rows."""
    rest_sampled_prob: float
    """Sampled probability of all tokens not among the rows."""
    kept: int
    """Number of tokens that could be drawn."""
    kept_prob: float
    """The model's own probability of the kept tokens together."""
    entropy: float
    """Of the model's probabilities, in nats."""
    handle: int
    """Names the position for `preview`."""

    @property
    def effective_choices(self) -> float:
        """exp(entropy): how many equally likely tokens would be as uncertain."""
        return math.exp(self.entropy)


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """A row of a distribution, and where it stands in it."""

    rank: int
    """1 + the number of tokens with a strictly greater logit."""
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class TokenMatches:
    """The tokens of a distribution that say what was looked for."""

    rows: tuple[RankedCandidate, ...]
    """As many as were asked for: those that fit best, then the more probable."""
    total: int
    """How many there are."""
    vocabulary: int
    """Among how many tokens they were looked for."""


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    NEWLINE = "newline"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token."""

    index: int
    id: int
    text: str
    """The token's own text, as in `Candidate`."""
    bytes: bytes
    piece: str
    """What this step adds to the answer: only whole characters, nothing for an end
    token. The pieces joined are the answer."""
    logprob: float
    rank: int
    """1 + the number of tokens with a strictly greater logit."""
    entropy: float
    sampled_prob: float
    distribution: Distribution

    @property
    def prob(self) -> float:
        """The model's own probability."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """The last thing a generation yields: why it ended, and its totals."""

    reason: FinishReason
    tokens: int
    logprob: float
    """Sum over the generated tokens, the end token included, in nats."""
    prompt_tokens: int
    reused_tokens: int
    """Prompt tokens that were already in the KV cache and not run again."""
    prompt_seconds: float
    """Time until the prompt's last logits, that is before the first token."""
    seconds: float
    """Time from then until the last token."""
    seed: int
    """The seed that was used, also when none was asked for."""
    piece: str = ""
    """Text held back until the end was certain; to be added to the answer."""
    first_token_seconds: float | None = None
    """Time from the request to the first token; None without tokens."""

    @property
    def perplexity(self) -> float | None:
        """exp of the mean negative log-probability; None without tokens."""
        return math.exp(-self.logprob / self.tokens) if self.tokens else None

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed without the prompt; None when there is nothing to divide."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a given text, with what the model thought of it."""

    index: int
    id: int
    text: str
    bytes: bytes
    logprob: float | None
    """None for a first token without context: it has no distribution."""
    rank: int | None
    entropy: float | None
    top: Sequence[Candidate] = ()
    """The most probable tokens at this position, as many as were asked for."""


@dataclass(frozen=True, slots=True)
class DraftScores:
    """A message that is being written, as the model reads it."""

    distribution: Distribution
    """What the model expects after it, in the same message."""
    tokens: tuple[ScoredToken, ...]
    """The message's own tokens so far."""
    context: tuple[int, ...]
    """The ids that the model reads before them."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text as tokens."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end of each token in code points; tokens that share a character
    share its span."""
    prefix: tuple[int, ...]
    """What comes before the text and is no part of it: BOS, or nothing."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as the ids that the model will continue."""

    ids: tuple[int, ...]
    text: str
    """The same, written out with its special tokens."""
    stop_texts: tuple[str, ...] = ()
    """Texts that end the answer, for models without an end-of-turn token."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded, for status lines, JSON and `doctor`."""

    model: str
    """As the user names it."""
    architecture: str
    parameters: int
    vocabulary: int
    context: int
    """Most tokens that prompt and answer can have together."""
    device: str
    dtype: str
    precision: Literal["exact", "fast"]
    threads: int
    has_template: bool
    """Whether the model brings a chat template; without one it is a base model."""
    generation_defaults: tuple[tuple[str, float], ...] = ()
    """The model's own sampling settings: shown, never applied silently."""
    adapter: str | None = None
    """The adapter that is part of it, by its name."""
    switches_thinking: bool = False
    """Whether its chat template can be told to have it think first, or not to."""
    why: str = ""
    """Why its weights are not packed, where that was tried."""

    @property
    def label(self) -> str:
        """The model and its adapter; numbers of two labels are never mixed."""
        return f"{self.model} + {self.adapter}" if self.adapter else self.model


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can tell; a remote one can tell less."""

    scores_text: bool = True
    """It can score a given text, not only what it generates."""
    previews: bool = True
    """It can redraw a distribution under other settings without the model."""
    whole_vocabulary: bool = True
    """Its distributions can be paged through to the last token."""
    infill: bool = False
    """It reads what follows a cursor when it goes on with a text."""


BosRule = Literal["auto", "yes", "no"]
"""Whether a text begins with the BOS token; `auto` does what the tokenizer does."""


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Consecutive tokens of a text, with what the model thought of each. It begins and
    ends with whole characters."""

    tokens: tuple[ScoredToken, ...]
    """Their `index` counts from the first token of the text."""
    spans: tuple[tuple[int, int], ...]
    """Start and end of each; tokens that share a character share its span."""


@dataclass(frozen=True, slots=True)
class ActualNext:
    """The row that says what already follows the cursor."""

    candidate: Candidate
    rank: int
    """1 + the number of rows that are strictly more probable."""


@dataclass(frozen=True, slots=True)
class CursorPrediction:
    """What the model expects at a cursor."""

    distribution: Distribution | None
    """Its rows are continuations: the bytes beyond the cursor, whichever tokens bring
    them, and the probability of each given all that is typed. None where there is
    nothing before the cursor that the model could read."""
    typed: str
    """The beginning of the piece that the cursor is in or behind, such as ` Fran`."""
    typed_logprob: float | None
    """Natural log of the probability that the piece begins so; None without context."""
    unexplored: float
    """Share of that probability whose continuations were not looked at."""
    following: ActualNext | None
    """None at the end of the text, and where nothing is expected."""
    read: ScoredSpan | None
    """The tokens up to the cursor whose numbers became known by looking."""
    tokens: int
    """How many tokens the whole text has."""
    window: tuple[int, int]
    """The first token that the model read for this, and the first it did not."""


@dataclass(frozen=True, slots=True)
class CompletionContext:
    """What a model reads before it goes on with a text."""

    ids: tuple[int, ...]
    """All tokens up to the piece that the cursor is in or behind, with what follows
    the cursor among them where `infilled`."""
    typed: bytes
    """The beginning of that piece: the continuation begins with it, too."""
    infilled: bool = False
    """Whether what follows the cursor is read."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Something that could stand in place of a part of a text."""

    text: str
    logprob: float
    """Natural log of its probability given what stands before it."""
    ahead: str
    """How the model would go on after it."""
    change: float | None
    """By how many bits what follows in the text is less probable (positive) or more
    (negative) after this than after what stands there; None where nothing follows."""

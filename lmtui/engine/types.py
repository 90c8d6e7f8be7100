"""Value types that the engine returns and takes.

Frozen, torch-free and complete: a screen, a file or a test can keep them. `logprob` is
the natural-log softmax of the raw logits at temperature 1, `prob` its exponential,
`sampled_prob` the probability under the distribution drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from lmtui.engine.windows import Windows
from lmtui.partial import Entropy, Rank

Role = Literal["system", "user", "assistant"]

Mark = str
"""Letter of a stage of the sampler, as `Stage.mark`."""


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One turn of a conversation, as text."""

    role: Role
    content: str
    known: Prompt | None = field(default=None, compare=False)
    """The prompt of an answer with the answer behind it, as the model in use read and
    generated them."""


class Candidate(NamedTuple):
    """One row of a distribution: a token the model could choose.

    A named tuple, because creating one is cheap: every generated token has twenty.
    """

    id: int
    text: str
    """Its bytes as text; bytes that are no whole character show as `⟨E3 81⟩`."""
    bytes: bytes
    logprob: float
    """Natural log, full vocabulary, temperature 1, no filter."""
    sampled_prob: float | None = None
    """Probability under the distribution drawn from, 0 when cut; None where a text is
    scored and nothing is drawn."""
    cut: Mark | None = None
    """Stage that removed it; None while it can be drawn."""
    changed: Mark | None = None
    """Last stage that changed its logit."""

    @property
    def prob(self) -> float:
        """The model's own probability."""
        return math.exp(self.logprob)


@dataclass(frozen=True, slots=True)
class SeenRepeat:
    """Passage at the end of the context that DRY found earlier in it, too."""

    start: int
    """Index in the context of the earlier one's first token."""
    end: int
    """Index after its last token."""
    text: str
    """Its text; bytes that are no character show as `⟨E3 81⟩`."""
    following: str
    """Text of the token that came after it, and is weakened now."""


@dataclass(frozen=True, slots=True)
class StageEffect:
    """What a stage of the sampler did at one position."""

    stage: str
    """One of `STAGES`, `bias` or `grammar`."""
    removed: int
    """Number of tokens that it removed."""
    left: int
    """Number of tokens that can be drawn after it."""
    moved_mass: float
    """Share of the probability that it took from some tokens and gave to others: half
    the sum of all differences. For a stage that removes tokens, what they had."""
    coin: float | None = None
    """Random number from 0 up to 1 that XTC was decided by: it removes tokens below
    `xtc_probability`. None where nothing was drawn: then shown as if it did."""
    repeat: SeenRepeat | None = None
    """The longest repeated passage that DRY saw."""
    without_token: tuple[str, ...] = ()
    """Entries of `logit_bias` that are no single token of this model."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Distribution of one next token, and the one that the sampler draws from."""

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
    remaining: int
    """Number of tokens that could be drawn."""
    remaining_prob: float
    """The model's own probability of the kept tokens together."""
    entropy: Entropy | None
    """Of the model's probabilities; None where nothing of them is known."""
    handle: int
    """Names the position for `preview`."""
    varentropy: float | None = None
    """Variance of the surprisal under the model's probabilities, in nats²; None where
    not all of these are known."""
    top_logprobs: int | None = None
    """Number of the most probable tokens that a server tells, where it is fewer than
    the vocabulary; nothing is known of each of the others but their sum."""
    is_certain: bool = True
    """Whether it is known what the sampler draws from: with some settings that depends
    on tokens that are not listed. If not, no row has a `sampled_prob`."""
    coin: float | None = None
    """Random number from 0 up to 1 that XTC was decided by, where it is on."""
    chain: tuple[StageEffect, ...] = ()
    """What each stage did, in their order, where that was asked for."""
    allowed: int | None = None
    """Number of tokens that the grammar allows; None without one."""
    allowed_prob: float = 1.0
    """The model's own probability of these together."""

    @property
    def known(self) -> int:
        """Number of tokens that can be shown one by one."""
        return self.vocabulary if self.top_logprobs is None else self.top_logprobs


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """Row of a distribution with its rank."""

    rank: int
    """1 + the number of tokens with a strictly greater logit."""
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class TokenMatches:
    """Tokens of a distribution that match a search."""

    rows: tuple[RankedCandidate, ...]
    """As many as were asked for: the best match first, then the more probable."""
    total: int
    """Number of all matches."""
    vocabulary: int
    """Number of tokens searched."""


class FinishReason(StrEnum):
    """Reason why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    CONTEXT = "context"
    NEWLINE = "newline"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"

    @property
    def words(self) -> str:
        return _END_WORDS[self]


_END_WORDS = {
    FinishReason.STOP: "the model ended here",
    FinishReason.LENGTH: "reached max tokens",
    FinishReason.CONTEXT: "the context is full",
    FinishReason.NEWLINE: "the line ended",
    FinishReason.CANCELLED: "stopped",
    FinishReason.BLOCKED: "grammar and bans leave no token",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One generated token."""

    index: int
    id: int
    text: str
    """The token's own text, as in `Candidate`."""
    bytes: bytes
    piece: str
    """Text that this step adds to the answer: whole characters only, empty for an end
    token. The pieces joined are the answer."""
    logprob: float | None
    """None where a server does not tell it."""
    rank: Rank | None
    """None where a server tells no probabilities; so is the entropy."""
    entropy: Entropy | None
    """As in `Distribution`."""
    sampled_prob: float | None
    """None where `distribution.is_certain` is false."""
    distribution: Distribution
    guessed: bool | None = None
    """Whether its logits were computed ahead, since guesses of prompt lookup were
    right; None where nothing is guessed."""
    forced: bool = False
    """Whether the grammar left no other text than the token's."""

    @property
    def prob(self) -> float | None:
        """The model's own probability."""
        return None if self.logprob is None else math.exp(self.logprob)

    @property
    def varentropy(self) -> float | None:
        return self.distribution.varentropy


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Tokens of an answer that were taken back, since they spelled a banned phrase."""

    index: int
    """Number of tokens of the answer before them."""
    steps: tuple[Step, ...]
    phrase: str


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """Last item of a generation: why it ended, and its totals."""

    reason: FinishReason
    tokens: int
    """0 also where a server does not tell it."""
    logprob: float | None
    """Sum over the generated tokens, the end token included, in nats; None where a
    server does not tell them all."""
    prompt_tokens: int
    """0 where a server does not tell it."""
    reused_tokens: int
    """Prompt tokens that were already in the KV cache and not run again."""
    prompt_seconds: float
    """Time until the prompt's last logits, that is, of prefill."""
    seconds: float
    """Time from the end of prefill until the last token."""
    seed: int
    """The seed that was used, also when none was asked for."""
    piece: str = ""
    """Text held back as a possible stop text; to be appended to the answer."""
    first_token_seconds: float | None = None
    """Time from the request to the first token; None without tokens."""
    guessed_tokens: int | None = None
    """Tokens whose `Step.guessed` is true; None where nothing is guessed."""
    notice: str = ""
    """What else a person has to know of its end, in a sentence."""
    taken_back: tuple[TakenBack, ...] = ()
    """In order; none of them counts in the totals."""

    @property
    def perplexity(self) -> float | None:
        """exp of the mean negative log-probability; None without tokens."""
        if self.logprob is None or not self.tokens:
            return None
        return math.exp(-self.logprob / self.tokens)

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed without the prompt; None when there is nothing to divide."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """Token of a given text, with its score."""

    index: int
    id: int
    text: str
    bytes: bytes
    logprob: float | None
    """None for a first token without context, which has no distribution; so are `rank`
    and `entropy`."""
    rank: Rank | None
    entropy: Entropy | None
    top: Sequence[Candidate] = ()
    """The most probable tokens at this position, as many as were asked for."""
    is_control: bool = field(default=False, compare=False)
    """Whether it is a control token; not kept in stored conversations."""
    word_end: float | None = None
    """Log-probability that a word ends before it: that of all tokens together that
    begin with white space or end a text. None where that was not asked for."""
    varentropy: float | None = None
    """As in `Distribution`."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A text as tokens."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end of each token in code points; tokens that share a character
    share its span."""
    prefix: tuple[int, ...]
    """Ids before the text that are no part of it: BOS, or none."""
    rewritten: int = 0
    """Characters of the text that the tokenizer composes, replaces or drops: the tokens
    do not spell them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as the ids that the model will continue."""

    ids: tuple[int, ...]
    text: str
    """The same as text, with its special tokens."""
    stop_texts: tuple[str, ...] = ()
    """Texts that end the answer, for models without an end-of-turn token."""
    stop_ids: tuple[int, ...] = ()
    """Tokens that end the answer, besides the model's own."""
    ignores_ends: bool = False
    """Whether the answer goes on behind the model's own end tokens."""
    min_tokens: int = 0
    """Tokens of the answer before which nothing ends it: no end token is drawn, and no
    stop text is looked for."""
    given: int = field(default=0, compare=False)
    """How many ids at the end are those of a prefill; 0 also where that can't be told.
    """
    begun: str = field(default="", compare=False)
    """The beginning of the answer that it ends with: a prefill, or what was generated
    before."""


UNKNOWN = "unknown"
"""What a server does not tell of its model."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Facts about the loaded model, for status lines, JSON and `doctor`."""

    model: str
    """As the user names it."""
    architecture: str
    parameters: int
    vocabulary: int
    context: int
    """Most tokens that prompt and answer can have together; 0 where a server does not
    tell it."""
    device: str
    """Of a server that does not tell it, the kind of server: `vllm`, …"""
    dtype: str
    """`UNKNOWN` where a server does not tell it."""
    precision: Literal["exact", "fast", "remote"]
    """`remote` for a model on a server, whatever that computes with."""
    threads: int
    has_template: bool
    """Whether the model brings a chat template; without one it is a base model."""
    generation_defaults: tuple[tuple[str, float], ...] = ()
    """The sampling settings that its makers recommend: the default of what the user
    has not set."""
    slots: int = 1
    """How many generations can run in turns, each with a KV cache of its own."""
    adapter: str | None = None
    """Name of the adapter that is loaded with the model."""
    switches_thinking: bool = False
    """Whether the chat template can turn thinking on or off."""
    why: str = ""
    """Why the weights are not packed, where that was tried."""
    end_ids: tuple[int, ...] = ()
    """Tokens that end a text or an answer."""

    def windows(
        self, prefix: int = 0, window: int | None = None, stride: int | None = None
    ) -> Windows:
        """Return the windows in which a text after `prefix` tokens is scored.

        Raises:
            LmtuiError: window or stride can't be used.
        """
        return Windows.choose(window, stride, context=self.context, prefix=prefix)

    @property
    def number_format(self) -> str:
        """The number format, or the kind of server where that is not told."""
        return self.device if self.dtype == UNKNOWN else self.dtype

    @property
    def label(self) -> str:
        """Name of the model and its adapter; numbers of two labels are never mixed."""
        return f"{self.model} + {self.adapter}" if self.adapter else self.model


Need = Literal["answers", "edits", "scores"]
"""What a screen or a command can't do without: answers alone, which every engine gives,
or the `Capabilities` of this name."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Features that an engine supports; a remote one may support fewer."""

    infill: bool = False
    """Reads the text after a cursor when it continues a text (fill-in-the-middle)."""
    top_logprobs: int | None = None
    """Number of the most probable tokens that a server tells at each position; None for
    the whole vocabulary."""
    proofreads: bool = True
    """Finds corrections of a text."""
    edits: bool = True
    """Whether texts can be continued and edited, not only conversations."""
    scores: bool = True
    """Whether a given text can be scored."""
    why_not: str = ""
    """One sentence on what the server does not offer."""
    why_no_lens: str = ""
    """Why there is no logit lens, where that is known before the first use."""
    batches: bool = True
    """Draws the versions of an answer together, not one after the other."""

    def meets(self, need: Need) -> bool:
        return {"answers": True, "edits": self.edits, "scores": self.scores}[need]


@dataclass(frozen=True, slots=True)
class ScoredPrompt:
    """Scores of a prompt, and what comes after it."""

    tokens: tuple[ScoredToken, ...]
    following: Distribution
    """Distribution of the token after the prompt."""


@dataclass(frozen=True, slots=True)
class DraftScores:
    """Scores of a message that is being written."""

    distribution: Distribution
    """Distribution of the token after the draft, in the same message."""
    tokens: tuple[ScoredToken, ...]
    """The message's own tokens so far."""
    context: tuple[int, ...]
    """Ids that the model reads before the draft."""


BosRule = Literal["auto", "yes", "no"]
"""Whether a text begins with the BOS token; `auto` follows the tokenizer."""

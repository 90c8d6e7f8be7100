"""What servers tell of a model whose most probable tokens they list, and checks of it.

Each dialect is a class with the same methods; ids are those of the model's own
tokenizer. All numbers are checked before they are used, since a server may send
anything.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo

if TYPE_CHECKING:  # its library takes a tenth of a second to import
    from collections.abc import Iterator

    from lmtui.models.remote.connection import Connection

MOST_VOCABULARY = 1 << 22
MOST_CONTEXT = 1 << 24
SHOWN = 40
"""Characters of the words that a status line shows."""
ENTRY_BYTES = 1 << 10
"""Bytes of one listed token in JSON, at the most."""
_ENTRIES = 100_000  # listed tokens of a response with the scores of a text, about
_FEW_ENTRIES = 4_000  # of one that a key waits for
ENDS = "stop", "length"
"""Reasons for which an answer ends; with any other, or none, it was cut off."""
Order = Literal["min_p_last", "min_p_first", "unknown"]
"""Whether min-p comes after top-k and top-p, or before them."""
_MOST_BYTES = 1 << 28  # of a body, however much was asked for
_NAME = 100  # characters of a name in an error
_COMPARED, _SAME = 5, 0.05  # tokens of a row; servers batch, which rounds otherwise
_SLACK = 1e-3  # a server may round the probability of a sure token up
_IMPOSSIBLE = -9998.0  # vLLM's −9999, llama.cpp's −3.4e38


@dataclass(frozen=True, slots=True)
class Row:
    """The most probable tokens of one position, by (-logprob, id)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural logs, of the whole vocabulary, before the sampler."""


@dataclass(frozen=True, slots=True)
class PromptToken:
    logprob: float
    rank: int | None
    """None where the server does not tell it."""
    row: Row


@dataclass(frozen=True, slots=True)
class ScoredTokens:
    """Scores of the last tokens of a prompt."""

    tokens: list[PromptToken]
    after: Row | None
    """The row after them, where that comes along."""


@dataclass(frozen=True, slots=True)
class AnswerToken:
    """A token that the server drew."""

    id: int
    logprob: float
    row: Row


LEAST_TOP_P = 1e-6  # 0 is refused


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """A prompt, and how its continuation is drawn; the fields have the names of
    `SamplingSettings`. Whoever asks ends the answer at an end token, if the server does
    not."""

    ids: Sequence[int]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int
    max_tokens: int
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of tokens; -inf for a ban."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_window: int = 0
    dry_breakers: Sequence[str] = ()
    top_n_sigma: float = 0.0
    typical_p: float = 1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    sampler_order: Sequence[str] = ()
    grammar: tuple[str, str] | None = None
    """Its kind and its text, for a server that takes `grammar`."""

    @property
    def openai_bias(self) -> dict[str, float]:
        """The bias as OpenAI's API takes it: from -100, which is as good as a ban, to
        100."""
        pairs = self.logit_bias.items()
        return {str(token): max(-100.0, min(100.0, each)) for token, each in pairs}

    @property
    def filters(self) -> dict[str, float]:
        """Settings of the sampler as vLLM and SGLang take them."""
        return {
            "temperature": self.temperature,
            "top_k": self.top_k or -1,
            "top_p": max(self.top_p, LEAST_TOP_P),
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
        }

    @property
    def llama_bias(self) -> list[tuple[int, float | bool]]:
        """The bias as llama.cpp takes it: false for a ban."""
        pairs = self.logit_bias.items()
        return [(token, each if each > -math.inf else False) for token, each in pairs]


COMMON_SETTINGS = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "repetition_penalty",
     "presence_penalty", "frequency_penalty", "logit_bias"}
)  # fmt: skip
"""Sampling settings that vLLM, SGLang and others with their API draw with."""
LLAMA_SETTINGS = COMMON_SETTINGS | {
    "penalty_window",
    "dry_multiplier",
    "dry_window",
    "top_n_sigma",
    "typical_p",
    "xtc_probability",
    "sampler_order",
}
"""Those that llama.cpp draws with, and lmtui; a stage's first setting stands for its
others."""


@dataclass(frozen=True)
class ListingModel(ABC):
    """A model on a server that lists the most probable tokens of a position."""

    dialect: ClassVar[str]
    """What the server is, as `--dialect` names it."""
    order: ClassVar[Order] = "min_p_last"
    """Order of the filters that it draws with."""
    scores_at_once: ClassVar[bool] = True
    """Whether a prompt is scored by one request; else by one for each token."""

    connection: Connection
    name: str
    """As the server calls it."""
    facts: ModelInfo
    rows: int = 1
    """Number of tokens that are listed of each position."""
    number_format: str = "unknown"
    """The format of its weights, as the server tells it."""
    answer_name: str | None = None
    """What its answers call the model: the first of several names, or that which a
    build gives to every model."""
    takes: frozenset[str] = COMMON_SETTINGS
    """Names of the sampling settings that it draws with."""
    asks_for_tokens: bool = True
    """Whether it has `token_logprobs`."""

    @property
    def device(self) -> str:
        """What runs it there, as far as that is told: the program."""
        return self.dialect

    @abstractmethod
    def rows_after(self, prompts: Sequence[Sequence[int]]) -> list[Row]:
        """Return the row after each prompt.

        Raises:
            LmtuiError: the server can't be reached, refuses, or sends nonsense.
        """

    @abstractmethod
    def score(
        self, prompts: Sequence[Sequence[int]], start: int, *, least: int
    ) -> list[ScoredTokens]:
        """Return the scores of each prompt from index `start` (1 or more) on, each with
        at least so many tokens listed; of long prompts not many more.
        """

    @abstractmethod
    def token_logprobs(self, ids: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Return the log-probability of each of some tokens after a prompt, whether
        they are listed or not.
        """

    @abstractmethod
    def draw(self, request: DrawRequest) -> Generator[AnswerToken]:
        """Yield the tokens of a continuation; closing the iterator ends it.

        Raises:
            LmtuiError: as in `rows_after`; also where the answer breaks off.
        """


@contextmanager
def checked(connection: Connection, what: str) -> Iterator[None]:
    """Turn what goes wrong in reading an answer into one error."""
    try:
        yield
    except (
        TypeError,
        KeyError,
        IndexError,
        ValueError,
        AttributeError,
        StopIteration,
        OverflowError,
    ) as error:
        name = "misses " if isinstance(error, KeyError) else ""
        words = str(error) or type(error).__name__
        raise connection.nonsense(f"{what}: {name}{words}"[:200]) from error


def score_rows(rows: int, least: int, sent: int, wanted: int) -> int:
    """Return how many tokens a server should list for each of `sent` positions, of
    which `wanted` are wanted: up to `rows`, but not so many that it takes long."""
    most = _ENTRIES if 2 * wanted > sent else _FEW_ENTRIES
    return max(1, least, min(rows, most // max(1, sent)))


def body_bytes(rows: int, positions: int) -> int:
    """Return the most bytes of an answer that lists `rows` tokens of each position."""
    return min(_MOST_BYTES, ENTRY_BYTES * (rows + 16) * (positions + 1))


def tells_raw_numbers(model: ListingModel) -> bool:
    """Return whether the log-probabilities of drawn tokens are those before the
    temperature, as with vLLM's default and llama-server; SGLang's are not.

    Raises:
        LmtuiError: the server can't be reached, refuses, or sends nonsense.
    """
    request = DrawRequest(
        [0], 0.5, 0, 1.0, 0.0, 1.0, 7, 1, sampler_order=("temperature",)
    )
    (row,) = model.rows_after([request.ids])
    with closing(model.draw(request)) as tokens:
        token = next(tokens, None)
    if token is None:
        return False
    drawn = dict(zip(token.row.ids, token.row.logprobs, strict=True))
    pairs = list(zip(row.ids, row.logprobs, strict=True))[:_COMPARED]
    return all(abs(drawn.get(i, 0.0) - value) < _SAME for i, value in pairs)


def require_model(connection: Connection, name: str | None, answer: Any) -> None:
    """Refuse an answer that says it is another model's: the server may have been
    started anew."""
    told = answer.get("model") if isinstance(answer, Mapping) else None
    if name is not None and isinstance(told, str) and told != name:
        raise LmtuiError(
            "the server has another model now",
            f"{told[:_NAME]} at {connection.address.host}, not {name[:_NAME]}",
            "Open it anew: F5 lists the models.",
        )


def row(pairs: Iterable[tuple[Any, Any]], model: ModelInfo, count: int) -> Row:
    """Return the row of (id, logprob) pairs: the first `count`, which have to be there.

    Raises:
        ValueError, TypeError: they are no such row.
    """
    listed = {token_id(i, model): logprob(value) for i, value in pairs}
    ranked = sorted(listed.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
    if len(ranked) < count:
        raise ValueError(f"{len(ranked)} tokens instead of {count}")
    ids, values = zip(*ranked, strict=True)
    if math.fsum(map(math.exp, values)) > 1 + _SLACK:
        raise ValueError("probabilities of more than 1")
    return Row(ids, values)


def token_id(value: Any, model: ModelInfo) -> int:
    """Return the id that a server sent.

    Raises:
        ValueError: it is none of the model's.
    """
    if type(value) is not int or not 0 <= value < model.vocabulary:
        raise ValueError(f"{str(value)[:SHOWN]} is no token")
    return value


def logprob(value: Any) -> float:
    """Return the log-probability that a server sent.

    Raises:
        ValueError, TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:SHOWN]} is no number")
    if not value <= _SLACK:  # NaN is not, either
        raise ValueError(f"{value} is no log-probability")
    return -math.inf if value <= _IMPOSSIBLE else min(0.0, float(value))


def count(value: Any, most: int) -> int:
    """Return a number from 1 to `most` that a server sent.

    Raises:
        ValueError: it is none.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{str(value)[:SHOWN]} is not from 1 to {most:,}")
    return value

"""Interface of a forward pass, whatever runs it, and of its KV cache.

Also checks that logits are a distribution. Knows neither a library nor a layout of
weights. Logits are returned as float32, on the CPU or on the CUDA device that computed
them; V is the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor

from lmtui.engine.softmax import greatest_of
from lmtui.engine.token_tree import Tree
from lmtui.errors import LmtuiError


class Reuse(Enum):
    """How much of an earlier run's cache a model can continue from."""

    ANY_PREFIX = auto()
    """Attention caches every position: any number of tokens can be removed."""
    CHECKPOINTS = auto()
    """Recurrent layers keep one state, which can't be cut back: tokens can be removed
    down to a place where a copy of that state was kept."""
    NOTHING = auto()
    """The cache does not work for this model: each run starts anew."""


class KVCache(Protocol):
    """Keys and values (or recurrent states) of the tokens read, for one or more
    rows."""

    @property
    def length(self) -> int:
        """Number of tokens of a row."""

    @property
    def row_bytes(self) -> int:
        """Bytes that each row of a fork allocates at first."""

    def crop(self, length: int) -> None:
        """Keep only the first `length` tokens, in every layer, however many a cancelled
        pass has left there. Recurrent states stay as they are."""

    def fork(self, rows: int, length: int | None = None) -> Self:
        """Return `rows` rows that each hold the first `length` tokens of this one row,
        or all, and copies of its recurrent states. Running tokens on the fork does not
        change this cache."""

    def with_states(self, other: Self) -> Self:
        """Return the keys and values of this cache, with the recurrent states of
        `other`. Asked only where there are some."""

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""


H = TypeVar("H", bound=KVCache)


class ModelBackend(Protocol[H]):
    """Forward passes of one model, which can be cancelled between two layers.

    `cache` is the KV cache that the tokens continue; None reads them without one.
    """

    @property
    def prefill_chunk(self) -> int:
        """Most prompt tokens of one prefill pass."""

    @property
    def block_rows(self) -> int:
        """Rows of logits in memory at once while a text is scored."""

    @property
    def extra_token_costs(self) -> Sequence[float]:
        """Cost of running 1, 2, … speculated tokens along with one token, in passes
        over one token; as many entries as may pay."""

    @property
    def reuse(self) -> Reuse:
        """How much of an earlier run's cache the model can continue from."""

    @property
    def top_logprobs(self) -> int | None:
        """Number of tokens that are known of each row of logits, where a server tells
        only the most probable ones (see `listed_rows`); None for all."""

    @property
    def is_remote(self) -> bool:
        """Whether a server runs the model, so that rows nobody needs are not worth
        their way."""

    @property
    def reads_trees(self) -> bool:
        """Whether `hidden_states_tree` gives the states that the tree's paths have on
        their own."""

    def new_cache(self) -> H:
        """Return an empty KV cache."""

    def logits(
        self, ids: Sequence[int], cache: H | None = None, *, keep: int = 1
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`, which continue `cache`.

        Raises:
            Cancelled: between two layers; `cache` then has to be cropped.
            LmtuiError: the logits are no distribution.
        """

    def next_logits(self, tokens: Sequence[int], cache: H) -> Tensor:
        """Logits [n, V] after one more token for each of the n rows of `cache`.

        Raises:
            LmtuiError: the logits are no distribution.
        """

    def hidden_states(
        self, ids: Sequence[int], cache: H | None = None, *, keep: int = 1
    ) -> Tensor:
        """States [keep, width] after the last `keep` of `ids`, which continue `cache`:
        the input of `head`, on the model's device.

        Raises:
            Cancelled, LmtuiError: as in `logits`.
        """

    def hidden_states_after(self, paths: Sequence[Sequence[int]], cache: H) -> Tensor:
        """States [n, width] after each of n paths of at least one token; `cache` has a
        row for each path.

        Raises:
            LmtuiError: as in `logits`.
        """

    def hidden_states_tree(self, tree: Tree, cache: H) -> Tensor:
        """States [n, width] after each token of a tree that continues the one row of
        `cache`. A token attends to `cache`, its ancestors and itself.

        Raises:
            Cancelled, LmtuiError: as in `hidden_states_after`.
        """

    def layer_states(
        self, ids: Sequence[int], cache: H | None = None, *, keep: int = 1
    ) -> Tensor:
        """States [keep, layers + 1, width] after the last `keep` of `ids`, which
        continue `cache`: those before the first layer and after each. All went through
        the final norm, so that they are inputs of `head`; the last ones are those of
        `hidden_states`.

        Raises:
            Cancelled: as in `logits`.
            LmtuiError: the states of single layers can't be had.
        """

    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V], float32, of states [n, width]."""

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        """Yield the logits after each of `ids` but the first `skip`, in order, in
        blocks [rows, V], so that memory does not grow with tokens × vocabulary.

        Raises:
            LmtuiError: the logits are no distribution.
        """


AnyBackend = ModelBackend[Any]
"""Any backend, with its own kind of KV cache."""


FIRST_ROOM = 256
"""Tokens that a KV cache allocates beyond those it has to hold, at the least."""
FORK_ROOM = 32
"""The same for a fork, which may have many rows and often ends soon."""


def grown_room(room: int, tokens: int, spare: int = FIRST_ROOM) -> int:
    """Return the room that a KV cache with `room` allocates to hold `tokens`:
    twice as much, so that n tokens cost O(n) copies, and at least `spare` for those
    that follow."""
    return max(tokens + spare, 2 * room)


_LEAST_REST = 128
"""Least tokens of the last part of a long prompt: the products of a few tokens are
others, with other rounding. Logits of a whole text are computed in blocks of as many
rows, so that parts and whole give the same numbers."""


def part_len(left: int, most: int) -> int:
    """Return how many of the `left` tokens of a prompt to run in the next pass, of at
    most `most`."""
    if left <= most:
        return left
    return most - _LEAST_REST if left - most < _LEAST_REST <= most // 2 else most


_LAYER_WORK = {"float32": 2.5e10, "bfloat16": 1e11}
# Operations of one layer between two checks whether to cancel: about a tenth of a
# second on two CPU cores, whose products are in this dtype.


def chunk_for(layer_weights: int, limit: int, dtype: str = "float32") -> int:
    """Return the most prompt tokens for one prefill pass on a CPU, for a layer with
    `layer_weights` weights and products in `dtype`: `limit`, above which nothing is
    gained, or fewer where a stop would otherwise take too long."""
    return max(64, min(limit, int(_LAYER_WORK[dtype] / (2 * max(layer_weights, 1)))))


def float_logits(logits: Tensor) -> Tensor:
    """Return logits [..., V] as they leave a pass: float32, checked unless on CUDA.

    On a CUDA device they are not checked, since reading them would wait for the device;
    whoever copies values to main memory checks those. Logits of other devices, which
    share main memory and lack float64, are moved to the CPU.
    """
    if logits.is_cuda:
        return logits.float()
    return require_distribution(logits.float().cpu())


def require_distribution(logits: Tensor) -> Tensor:
    """Return logits [..., V] that are a distribution: none NaN or +inf, not all -inf.

    Raises:
        LmtuiError: they are not.
    """
    if bool(greatest_of(logits).isfinite().all()):
        return logits
    raise not_a_distribution()


NO_STATES = "a server sends no states of its layers"
"""Why there is no logit lens of a model on a server."""


def no_layer_states(why: str) -> LmtuiError:
    """Return the error for a model whose layers can't be looked into."""
    hint = "Use a model of another architecture, on this machine."
    return LmtuiError("the logit lens can't be computed", why, hint)


def no_such_token(token: int) -> LmtuiError:
    """Return the error for a token of the tokenizer that the model has no weights
    for."""
    return LmtuiError(
        "the tokenizer is not that of the model",
        f"it gives token {token:,}, which the model lacks",
        "Use the tokenizer that the model was trained with.",
    )


def not_a_distribution() -> LmtuiError:
    return LmtuiError(
        "the model's output is not a distribution",
        "its logits are NaN or infinite",
        "Try --dtype float32; if that does not help, the weights are damaged.",
    )

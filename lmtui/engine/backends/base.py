"""One forward pass, whatever runs it: the seam below everything that uses a model.

Owns what a pass can be asked for, what is kept of the tokens that were read, and the
check that logits are a distribution. Knows neither a library nor a layout of weights.
Logits that leave are float32, on the CPU or on a CUDA device, where they stay; V is the
size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor

from lmtui.engine.protocol import Stop
from lmtui.engine.token_tree import Tree
from lmtui.errors import LmtuiError


class Reuse(Enum):
    """What of an earlier run a model can go on from."""

    ANY_PREFIX = auto()
    """Attention keeps every position: any number of tokens can be taken back."""
    WHOLE = auto()
    """Recurrent layers keep one state: tokens can be added, none taken back."""
    NOTHING = auto()
    """What is kept does not carry this model: each run starts anew."""


class KVCache(Protocol):
    """What a model keeps of the tokens that it has read, for one row or several."""

    @property
    def length(self) -> int:
        """Tokens of a row."""

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that each row of a fork takes, in the beginning."""

    def crop(self, length: int) -> None:
        """Hold the first `length` tokens alone, in every layer, however many a pass
        that was stopped has left there."""

    def fork(self, rows: int, length: int | None = None) -> Self:
        """So many rows, each holding what this one row holds, or the first `length`
        tokens of it. What is run on it does not change this one."""

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Hold these rows alone."""


H = TypeVar("H", bound=KVCache)
T = TypeVar("T")


class Passes(Protocol[H]):
    """A model that is called in one place. `stop` is asked between two layers."""

    @property
    def chunk(self) -> int:
        """Most prompt tokens for one pass."""

    @property
    def guess_costs(self) -> Sequence[float]:
        """What it costs to run one, two, … tokens along with another one, in passes
        over one token; as many as may pay."""

    @property
    def reuse(self) -> Reuse:
        """What of an earlier run it can go on from."""

    @property
    def reads_trees(self) -> bool:
        """Whether the states in a tree are those after its paths."""

    def answering(self, answer: Iterator[T]) -> Iterator[T]:
        """Pass an answer on, during which nothing about how it is run may change; what
        makes the next one faster may be done before and after."""

    def hold(self) -> H:
        """What holds nothing yet."""

    def logits(
        self,
        ids: Sequence[int],
        held: H | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`, which continue what is
        held.

        Raises:
            Cancelled: `stop` answered True between two layers; what is held has then
                to be cropped.
            LmtuiError: the logits are no distribution.
        """

    def next_logits(
        self, tokens: Sequence[int], held: H, *, stop: Stop | None = None
    ) -> Tensor:
        """Logits [n, V] after one more token for each of the n rows that are held.

        Raises:
            Cancelled: `stop` answered True; what is held is then of no more use.
            LmtuiError: the logits are no distribution.
        """

    def states(
        self,
        ids: Sequence[int],
        held: H | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """What `head` makes the logits of, after the last `keep` of `ids`, which
        continue what is held. [keep, width], on the model's device

        Raises:
            Cancelled, LmtuiError: as in `logits`.
        """

    def states_after(
        self, paths: Sequence[Sequence[int]], held: H, *, stop: Stop | None = None
    ) -> Tensor:
        """States [n, width] after each of n paths of a token or more, for each of
        which a row is held.

        Raises:
            Cancelled: `stop` answered True; what is held is then of no more use.
            LmtuiError: as in `logits`.
        """

    def states_in(self, tree: Tree, held: H, *, stop: Stop | None = None) -> Tensor:
        """States [n, width] after each token of a tree that continues the one row that
        is held: a token sees what is held, and its own ancestors.

        Raises:
            Cancelled, LmtuiError: as in `states_after`.
        """

    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V], float32, of n states."""

    def all_logits(
        self, ids: Sequence[int], *, skip: int = 0, stop: Stop | None = None
    ) -> Iterator[Tensor]:
        """Logits after every one of `ids` but the first `skip`, in order, in blocks
        [rows, V], so that the memory in use does not grow with
        tokens × vocabulary.

        Raises:
            Cancelled: `stop` answered True.
            LmtuiError: the logits are no distribution.
        """


ModelBackend = Passes[Any]
"""Whatever runs it, with whatever it holds."""


_LAYER_WORK = 2.5e10
# Operations of one layer between two looks at the stop flag: about a tenth of a second
# on two CPU cores.


def chunk_for(layer_weights: int, most: int) -> int:
    """Most prompt tokens for one pass on a CPU, where a layer has so many weights: as
    many as `most`, which more would gain nothing over, if a stop is still obeyed soon.
    """
    return max(64, min(most, int(_LAYER_WORK / (2 * max(layer_weights, 1)))))


def answered(logits: Tensor) -> Tensor:
    """Logits [..., V] as they leave a pass: float32. On a CUDA device they stay unseen,
    since to look at them is to wait for it: whoever brings something of them to main
    memory sees there whether they are a distribution. Other devices, which are near to
    main memory and lack float64, leave them to the CPU."""
    if logits.is_cuda:
        return logits.float()
    return checked(logits.float().cpu())


def checked(logits: Tensor) -> Tensor:
    """Logits [..., V] that make a distribution: none NaN or +inf, not all -inf."""
    if bool(logits.amax(-1).isfinite().all()):
        return logits
    raise not_a_distribution()


def not_a_distribution() -> LmtuiError:
    """What is said of logits that are none."""
    return LmtuiError(
        "the model's output is not a distribution",
        "its logits are NaN or infinite",
        "Try --dtype float32; if that does not help, the weights are damaged.",
    )

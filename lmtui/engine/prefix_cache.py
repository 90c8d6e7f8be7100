"""The KV cache and the ids that are in it.

Owns prefix reuse: of a new context only what differs from the last one is run. One
invariant holds after every call and every failure: `ids` is what the cache holds,
and `logits` belongs to the last of them. Knows no text and no sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from lmtui.engine.backends.base import KVCache, ModelBackend, Reuse
from lmtui.engine.protocol import ReportCount, Stop
from lmtui.errors import Cancelled


class PrefixCache:
    """Runs contexts through one model, reusing the longest shared beginning."""

    def __init__(self, forward: ModelBackend) -> None:
        self._forward = forward
        self._held: KVCache
        self.ids: list[int]
        self._logits: Tensor | None
        self._state: Tensor | None  # [1, width], where the logits are not yet made
        self._reuse = forward.reuse
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._held = self._forward.hold()
        self.ids = []
        self._logits = self._state = None

    @property
    def logits(self) -> Tensor | None:
        """float32 [V], of the token after `ids`."""
        if self._logits is None and self._state is not None:
            self._logits = self._forward.head(self._state)[0]
        return self._logits

    def read(
        self,
        ids: Sequence[int],
        *,
        stop: Stop = lambda: False,
        progress: ReportCount | None = None,
    ) -> int:
        """Make the cache hold exactly `ids`, at least one, in as little work as can be.

        Returns how many of them were reused.

        Raises:
            Cancelled: `stop` answered True; what was run so far stays usable.
        """
        reused = self._shared(ids)
        self._keep(reused)
        while (done := len(self.ids)) < len(ids):
            if stop():
                raise Cancelled
            if progress:
                progress(done, len(ids))
            in_parts = self._reuse is not Reuse.NOTHING
            part = ids[done : done + self._forward.chunk if in_parts else None]
            self._last(self._run(self._forward.logits, part, stop))
        return reused

    def extend(self, part: Sequence[int], *, stop: Stop | None = None) -> Tensor:
        """Run one or a few more tokens at once; the logits [n, V] after each of them.

        Raises:
            Cancelled: `stop` answered True; nothing was added.
        """
        logits = self._run(self._forward.logits, part, stop, keep=len(part))
        return self._last(logits)

    def states(
        self, ids: Sequence[int], since: int, *, stop: Stop
    ) -> Iterator[tuple[int, Tensor]]:
        """Make the cache hold exactly `ids`, like `read`, and give the states (see
        `Forward.states`) after them: part by part, where the part begins and the
        states [n, width] after its tokens. The first part begins at `since` or before.

        Raises:
            Cancelled: `stop` answered True; what was run so far stays usable.
        """
        self._keep(min(self.common(ids), since))
        while (done := len(self.ids)) < len(ids):
            if stop():
                raise Cancelled
            in_parts = self._reuse is not Reuse.NOTHING
            part = ids[done : done + self._forward.chunk if in_parts else None]
            states = self._run(self._forward.states, part, stop, keep=len(part))
            self._state = states[-1:]
            yield done, states

    def fork(self, rows: int, length: int | None = None) -> KVCache | None:
        """What holds, in so many rows, what this one holds, or the first `length`
        tokens of it; None where a model's state can't be repeated. What is run on it
        does not change this one.
        """
        return self._held.fork(rows, length) if self.takes_back else None

    @property
    def takes_back(self) -> bool:
        """Whether any number of tokens can be taken back without running others."""
        return self._reuse is Reuse.ANY_PREFIX

    def take_back(self, count: int) -> None:
        """Hold the first `count` tokens alone, where a model `takes_back`."""
        self._keep(count)

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that each row of a fork takes, in the beginning."""
        return self._held.row_bytes

    @property
    def guess_costs(self) -> Sequence[float]:
        """What guesses cost: see `forward.Passes`."""
        return self._forward.guess_costs

    def common(self, ids: Sequence[int]) -> int:
        """How many of the first tokens of `ids` are the first ones it holds."""
        pairs = enumerate(zip(self.ids, ids, strict=False))
        shorter = min(len(self.ids), len(ids))
        return next((i for i, (a, b) in pairs if a != b), shorter)

    def _shared(self, ids: Sequence[int]) -> int:
        """How many of the first tokens of `ids` need not be run again."""
        same = self.common(ids)
        if list(ids) == self.ids and self.logits is not None:
            return same
        if self._reuse is Reuse.NOTHING:
            return 0
        if same == len(self.ids) < len(ids):
            return same
        # Something is taken back, and with it the logits: at least the last token
        # has to run again.
        return min(same, len(ids) - 1) if self._reuse is Reuse.ANY_PREFIX else 0

    def _keep(self, count: int) -> None:
        """Take back all but the first `count` tokens."""
        extra = len(self.ids) - count
        if extra == 0:
            return
        if self._reuse is not Reuse.ANY_PREFIX or count == 0:
            self.reset()
            return
        self._held.crop(count)
        del self.ids[count:]
        self._logits = self._state = None

    def _last(self, logits: Tensor) -> Tensor:
        self._logits = logits[-1]
        return logits

    def _run(
        self,
        run: Callable[..., Tensor],
        part: Sequence[int],
        stop: Stop | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        """What `run`, of the forward pass, gives for the last `keep` of `part`."""
        held = len(self.ids)
        try:
            results = self._results_of(run, part, stop, keep)
        except Cancelled:
            # Layers that ran hold the part, the others do not: even them out.
            self.ids += part
            self._keep(held)
            raise
        except BaseException:
            self.reset()
            raise
        self.ids += part
        self._logits = self._state = None
        return results

    def _results_of(
        self,
        run: Callable[..., Tensor],
        part: Sequence[int],
        stop: Stop | None,
        keep: int,
    ) -> Tensor:
        if self._reuse is Reuse.NOTHING:
            return run([*self.ids, *part], keep=keep, stop=stop)
        results = run(part, self._held, keep=keep, stop=stop)
        attention = self._reuse is Reuse.ANY_PREFIX
        if attention and self._held.length != len(self.ids) + len(part):
            # The model keeps its state in some other place, or nowhere; so far it
            # has read one part, which it was given whole.
            self._reuse = Reuse.NOTHING
        return results

"""Prefix reuse: the KV cache of one model and the ids that are in it.

Of a new context, only what differs from the last one is run. A recurrent state can't
be cut back: a few copies of it are kept, and what lies behind the nearest one is run
again. Invariant after every call and every failure: `ids` are the tokens in the cache,
and `logits` belongs to the last of them. Knows no text and no sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backend import AnyBackend, KVCache, Reuse, part_len
from lmtui.engine.protocol import ReportCount
from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.errors import Cancelled

_CHECKPOINTS = 8  # most copies of a recurrent state
_TAIL = 16  # tokens before the end of a part at which one is kept, for the next key
_CHECKPOINT_BYTES = 256 * 2**20  # limit of all of them


class PrefixCache:
    """Runs contexts through one model, reusing the longest common prefix."""

    def __init__(self, backend: AnyBackend) -> None:
        self.backend = backend
        self._cache: KVCache
        self.ids: list[int]
        self._logits: Tensor | None
        self._state: Tensor | None  # [1, width], where the head has not run yet
        self._layers: Tensor | None  # [1, layers + 1, width], where they were recorded
        self._checkpoints: dict[int, tuple[KVCache, Tensor | None, Tensor | None]]
        """Recurrent states, logits and state after the first n tokens, by n."""
        self.records_layers = False
        """Whether the states of all layers after the last token are recorded when a
        context is read, for `layer_states` to be asked for them next."""
        self._reuse = backend.reuse
        self.reset()

    def reset(self) -> None:
        """Drop all tokens."""
        self._cache = self.backend.new_cache()
        self.ids = []
        self._logits = self._state = self._layers = None
        self._checkpoints = {}

    @property
    def logits(self) -> Tensor | None:
        """Logits of the token after `ids`: float32 [V]; None without tokens."""
        if self._logits is None and self._state is not None:
            self._logits = self.backend.head(self._state)[0]
        return self._logits

    def read(self, ids: Sequence[int], *, progress: ReportCount | None = None) -> int:
        """Make the cache hold exactly `ids`, at least one, running as few tokens as
        possible.

        Returns how many of them were reused.
        """
        reused = self.rollback_len(self._shared(ids))
        for done in self.prefill(ids):
            if progress:
                progress(done, len(ids))
        return reused

    def prefill(self, ids: Sequence[int]) -> Iterator[int]:
        """Make the cache hold exactly `ids`, like `read`; before each part, yield how
        many of them it holds.

        Raises:
            Cancelled: as in `read`.
        """
        for done, part in self._parts(ids, self._shared(ids)):
            yield done
            if self.records_layers and done + len(part) == len(ids):
                self._record_layers(part)
            else:
                self._last(self._run(self.backend.logits, part))

    def _record_layers(self, part: Sequence[int], *, keep: int = 1) -> Tensor:
        """Run tokens; record the states of all layers after the last, and return those
        after the last `keep`."""
        states = self._run(self.backend.layer_states, part, keep=keep)
        # Not in the memory of all of them.
        self._layers, self._state = states[-1:].clone(), states[-1:, -1].clone()
        return states

    def _parts(
        self, ids: Sequence[int], start: int, most: int | None = None
    ) -> Iterator[tuple[int, Sequence[int]]]:
        """Go back to the first `start` tokens, or fewer; yield the tokens to run in the
        next pass, with the number of those before them, until the cache holds `ids`."""
        self.rollback(start)
        most = most or self.backend.prefill_chunk
        keeps = self._reuse is Reuse.CHECKPOINTS
        while (done := len(self.ids)) < len(ids):
            cancellation.check()
            # A part ends at `start`, for the next text is likely to part there as well.
            left = (start if keeps and done < start else len(ids)) - done
            if keeps and left > _TAIL:
                left -= _TAIL
            size = left if self._reuse is Reuse.NOTHING else part_len(left, most)
            yield done, ids[done : done + size]
            if keeps:
                self._keep_checkpoint()

    def _keep_checkpoint(self) -> None:
        """Keep the state after all tokens. Of too many, the one goes without which a
        text that changes behind it costs least, compared with the tokens behind the
        change, which have to be run anyway: so there are more near the end. The first
        and the last stay while there is room for two."""
        kept, states = self._checkpoints, self._cache.fork(1, 0)
        kept[len(self.ids)] = states, self._logits, self._state
        most = min(_CHECKPOINTS, _CHECKPOINT_BYTES // max(1, states.row_bytes))
        while len(kept) > most:
            places, end = list(kept), len(self.ids)
            around = zip(places, places[1:], places[2:], strict=False)
            costs = {place: (end - a) / (end - b + 1) for a, place, b in around}
            del kept[min(costs, key=costs.__getitem__, default=places[0])]

    def extend(self, part: Sequence[int]) -> Tensor:
        """Run one or a few more tokens in one pass; return the logits [n, V] after
        each.
        """
        # Within a token, a recurrent model could only go back to the last checkpoint,
        # and all that was generated since would run again.
        whole = self._reuse is Reuse.CHECKPOINTS and len(part) == 1
        asked = cancellation.never if whole else cancellation.condition()
        with cancellation.cancelled_when(asked):
            logits = self._run(self.backend.logits, part, keep=len(part))
        return self._last(logits)

    def hidden_states(
        self, ids: Sequence[int], start: int, *, most: int | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Make the cache hold exactly `ids`, like `read`, and yield the states after
        them (see `ModelBackend.hidden_states`). `most` tokens are run in one pass.

        Yields, per part, the position of its first token and the states [n, width]
        after its n tokens. The first part begins at `start` or before; of a model on a
        server, at `start`.
        """
        for done, part in self._parts(ids, min(self.common(ids), start), most):
            count = len(part)
            if self.backend.is_remote:
                count = max(0, min(count, done + count - start))
            states = self._run(self.backend.hidden_states, part, keep=count)
            self._state = states[-1:].clone() if count else None
            yield done + len(part) - count, states

    def layer_states(
        self, ids: Sequence[int], start: int, *, most: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Make the cache hold exactly `ids`, like `read`, and yield the states of all
        layers after those from `start` on (see `ModelBackend.layer_states`). `most`
        tokens are run in one pass.

        Yields, per part, the position of its first token and the states [n, layers + 1,
        width] after its n tokens.

        Raises:
            LmtuiError: the states of single layers can't be had.
        """
        if start == len(ids) - 1 and self._layers is not None and self.ids == list(ids):
            yield start, self._layers
            return
        for done, part in self._parts(ids, min(self.common(ids), start), most):
            end = done + len(part)
            if end <= start:
                self._last(self._run(self.backend.logits, part))
                continue
            first = max(done, start)
            yield first, self._record_layers(part, keep=end - first)

    def fork(self, rows: int, length: int | None = None) -> KVCache | None:
        """Return a cache of `rows` rows that each hold the first `length` tokens of
        this one, a `rollback_len`, or all; None where the model's state can't be
        copied. Running tokens on it does not change this one."""
        if not self.can_fork:
            return None
        assert length is None or length == self.rollback_len(length)
        if length in self._checkpoints:
            states, _, _ = self._checkpoints[length]
            return self._cache.with_states(states).fork(rows, length)
        return self._cache.fork(rows, length)

    @property
    def can_fork(self) -> bool:
        """Whether the model's state can be copied."""
        return self._reuse is not Reuse.NOTHING

    @property
    def can_rollback(self) -> bool:
        """Whether any number of tokens can be removed without running others again."""
        return self._reuse is Reuse.ANY_PREFIX

    @property
    def row_bytes(self) -> int:
        """Bytes that each row of a fork allocates at first."""
        return self._cache.row_bytes

    def common(self, ids: Sequence[int]) -> int:
        return common_prefix_len(self.ids, ids)

    def _shared(self, ids: Sequence[int]) -> int:
        """Return how many of the first tokens of `ids` need not be run again."""
        same = self.common(ids)
        if list(ids) == self.ids and self.logits is not None:
            return same
        if self._reuse is Reuse.NOTHING:
            return 0
        if same == len(self.ids) < len(ids):
            return same
        # Removing tokens drops the logits too, so at least the last token runs again,
        # unless a checkpoint has them.
        return min(same, len(ids) - 1) if self._reuse is Reuse.ANY_PREFIX else same

    def rollback_len(self, count: int) -> int:
        """Return the longest prefix of the first `count` tokens in the cache that is
        had back without running any of them again."""
        if self._reuse is Reuse.ANY_PREFIX or count == len(self.ids):
            return count
        return max((place for place in self._checkpoints if place <= count), default=0)

    def rollback(self, count: int) -> None:
        """Keep only the first `count` tokens, or its `rollback_len`."""
        count = self.rollback_len(count)
        if count == len(self.ids):
            return
        if count == 0:
            self.reset()
            return
        self._cache.crop(count)
        del self.ids[count:]
        self._logits = self._state = self._layers = None
        for place in [place for place in self._checkpoints if place > count]:
            del self._checkpoints[place]
        if count in self._checkpoints:
            states, self._logits, self._state = self._checkpoints[count]
            self._cache = self._cache.with_states(states.fork(1))

    def _last(self, logits: Tensor) -> Tensor:
        self._logits = logits[-1]
        return logits

    def _run(
        self, run: Callable[..., Tensor], part: Sequence[int], *, keep: int = 1
    ) -> Tensor:
        """Run `part` through `run`, a method of the forward pass, and return its rows
        for the last `keep` tokens."""
        length = len(self.ids)
        try:
            results = self._results_of(run, part, keep)
        except Cancelled:
            # Only the layers that ran hold the part: crop all to the same length.
            self.ids += part
            self.rollback(length)
            raise
        except BaseException:
            self.reset()
            raise
        self.ids += part
        self._logits = self._state = self._layers = None
        return results

    def _results_of(
        self, run: Callable[..., Tensor], part: Sequence[int], keep: int
    ) -> Tensor:
        if self._reuse is Reuse.NOTHING:
            return run([*self.ids, *part], keep=keep)
        results = run(part, self._cache, keep=keep)
        attention = self._reuse is Reuse.ANY_PREFIX
        if attention and self._cache.length != len(self.ids) + len(part):
            # The model keeps its state elsewhere, or nowhere. The results are still
            # right: this is the first part, which continues nothing.
            self._reuse = Reuse.NOTHING
        return results

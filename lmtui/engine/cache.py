"""The KV cache and the ids that are in it.

Owns prefix reuse: of a new context only what differs from the last one is run. One
invariant holds after every call and every failure: `ids` is what the cache holds,
and `logits` belongs to the last of them. Knows no text and no sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import DynamicCache

from lmtui.engine.forward import Forward
from lmtui.engine.port import Progress, Stop
from lmtui.errors import Cancelled

_CROPPABLE = {"full_attention", "sliding_attention", "chunked_attention"}


class PrefixCache:
    """Runs contexts through one model, reusing the longest shared beginning."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        config = forward.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        # Recurrent layers keep no history, so nothing can be taken back from them.
        self._croppable = kinds <= _CROPPABLE
        self._cache: DynamicCache
        self.ids: list[int]
        self.logits: Tensor | None
        """float32 [V] on the CPU, of the token after `ids`."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # Built without the config, a cache keeps sliding-window layers whole: the
        # mask still limits what they see, and any number of tokens can be taken back.
        config = {} if self._croppable else {"config": self._forward.model.config}
        self._cache = DynamicCache(**config)
        self.ids = []
        self.logits = None

    def read(
        self,
        ids: Sequence[int],
        *,
        stop: Stop = lambda: False,
        progress: Progress | None = None,
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
            self._run(ids[done : done + self._forward.chunk], stop)
        return reused

    def append(self, token: int) -> None:
        """Run one more token."""
        self._run([token])

    def _shared(self, ids: Sequence[int]) -> int:
        """How many of the first tokens of `ids` need not be run again."""
        pairs = enumerate(zip(self.ids, ids, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(self.ids), len(ids)))
        if same == len(self.ids) and (same < len(ids) or self.logits is not None):
            return same
        # Something is taken back, and with it the logits: at least the last token
        # has to run again.
        return min(same, len(ids) - 1) if self._croppable else 0

    def _keep(self, count: int) -> None:
        """Take back all but the first `count` tokens."""
        extra = len(self.ids) - count
        if extra == 0:
            return
        if not self._croppable or count == 0:
            self.reset()
            return
        for layer in self._cache.layers:
            layer.crop(min(0, count - layer.get_seq_length()))
        del self.ids[count:]
        self.logits = None

    def _run(self, part: Sequence[int], stop: Stop | None = None) -> None:
        held = len(self.ids)
        try:
            self.logits = self._forward.last_logits(part, self._cache, stop=stop)
        except Cancelled:
            # Layers that ran hold the part, the others do not: even them out.
            self.ids += part
            self._keep(held)
            raise
        except BaseException:
            self.reset()
            raise
        self.ids += part

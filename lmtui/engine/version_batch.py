"""Several versions of an answer, decoded as one batch on the prompt that they share.

Each row has a `Decoder` of its own, so that a version is the text that its seed gives
alone. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from logging import getLogger

from torch import Tensor

from lmtui import cancellation
from lmtui.engine.generate import Decoder
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import ReportCount
from lmtui.engine.versions import VersionItem
from lmtui.errors import Cancelled, LmtuiError


class VersionBatch:
    """Versions that are decoded together; one that ends leaves the batch."""

    def __init__(self, cache: PrefixCache, decoders: Sequence[Decoder]) -> None:
        """`cache` is that of the decoders, for a model that `can_rollback`."""
        self._cache = cache
        self._going = dict(enumerate(decoders))
        self._drawn: dict[int, int] = {}  # version → its last token

    def run(
        self, prompt: Sequence[int], progress: ReportCount | None = None
    ) -> Iterator[VersionItem]:
        """Yield the steps of all versions as they are drawn, and the result of each
        that ends.

        Raises:
            LmtuiError: the prompt can't be read.
        """
        for decoder in self._going.values():
            decoder.begin_row(prompt)
        try:
            # 1) prefill, once for all
            reused = self._cache.read(prompt, progress=progress)
            for version, decoder in self._going.items():
                decoder.follow_prompt(len(prompt) if version else reused)
            # 2) decode steps
            yield from self._steps()
        except Cancelled:
            for version, decoder in self._going.items():
                yield VersionItem(version, decoder.stop())

    def _steps(self) -> Iterator[VersionItem]:
        logits, forked = self._cache.logits, self._cache.fork(len(self._going))
        assert logits is not None and forked is not None
        logits = logits.expand(len(self._going), -1)  # [n, V], n rows
        while True:
            rows = list(self._going)
            yield from self._draw(logits)
            kept = [row for row, each in enumerate(rows) if each in self._going]
            if not kept:
                return
            cancellation.check()
            if len(kept) < len(rows):
                forked.select_rows(kept)
            try:
                logits = self._cache.backend.next_logits(
                    [self._drawn[each] for each in self._going], forked
                )
            except LmtuiError as error:  # of one row, perhaps, but it ends all
                getLogger("lmtui").warning("versions go on one by one: %s", error)
                yield from self._each_alone()
                return

    def _draw(self, logits: Tensor) -> Iterator[VersionItem]:
        """Draw the next token of each version from its row of logits [n, V]."""
        for row, (version, decoder) in zip(logits, [*self._going.items()], strict=True):
            try:
                step, result = decoder.advance(row)
            except LmtuiError as error:
                del self._going[version]
                yield VersionItem(version, error)
                continue
            if step is not None:
                self._drawn[version] = step.id
                yield VersionItem(version, step)
            if result:
                del self._going[version]
                yield VersionItem(version, result)

    def _each_alone(self) -> Iterator[VersionItem]:
        """Go on with each version by itself: only those that fail alone are lost."""
        for version, decoder in self._going.items():
            try:
                for item in decoder.leave_batch():
                    yield VersionItem(version, item)
            except LmtuiError as error:
                yield VersionItem(version, error)

"""Decode loops: prefill, sample, append, repeat; for one answer, or several at once.

Decide where the logits of an answer come from: the KV cache, guesses, a batch that
shares a prompt, or a server that draws itself. Know ids only; no text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from logging import getLogger

import torch
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.generation.answer_row import AnswerRow, FirstStep
from lmtui.engine.generation.prompt_lookup import SpeculativeDecoder, is_guessing
from lmtui.engine.grammar.matcher import GrammarStuck
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import ReportCount
from lmtui.engine.rows import RowItem, one_after_another
from lmtui.engine.sampling.chain import NothingLeft
from lmtui.engine.servers.draws import DrawingBackend
from lmtui.engine.types import FinishReason, GenerationResult, Step
from lmtui.errors import Cancelled, LmtuiError

Open = Callable[[torch.Generator], FirstStep]
"""Chooses the first step, with the generation's random numbers. May raise
`Cancelled`."""

_BATCH_BYTES = 1 << 30  # limit of the KV cache of all rows together


def generate(
    cache: PrefixCache,
    row: AnswerRow,
    prompt: Sequence[int],
    *,
    open_with: Open | None = None,
    known: Tensor | None = None,
    lookup_ids: Iterable[int] = (),
    progress: ReportCount | None = None,
) -> Iterator[Step | GenerationResult]:
    """Generate after `prompt` (at least one id, shorter than the context). Yields each
    step, then the result.

    The first step comes from `open_with`, or from `known`, the logits [V] after the
    prompt, which is then read behind it. `lookup_ids` are tokens near the prompt that
    the text may repeat.
    """
    items = _generate(
        cache,
        row,
        prompt,
        open_with=open_with,
        known=known,
        lookup_ids=lookup_ids,
        progress=progress,
    )
    return row.settled(items)


def _generate(
    cache: PrefixCache,
    row: AnswerRow,
    prompt: Sequence[int],
    *,
    open_with: Open | None,
    known: Tensor | None,
    lookup_ids: Iterable[int],
    progress: ReportCount | None,
) -> Generator[Step | GenerationResult]:
    row.begin(prompt)
    row.guessed = 0 if is_guessing(cache) else None
    if open_with is None and row.grammar is not None and row.grammar.is_finished:
        yield row.finish(FinishReason.STOP)
        return
    # A server knows no grammar: with one, tokens are drawn here.
    backend, server = cache.backend, None
    if isinstance(backend, DrawingBackend) and row.grammar is None:
        server = backend
    try:
        # 1) the first step, if it is chosen with token healing or its logits are known
        step = None
        if open_with is not None:
            step = row.follow_first(open_with(row.random))  # it prefills as it needs
        elif known is not None and server is None:
            step = row.draw(known)
            while row.take_back() is not None:
                step = row.draw(known)
        if step is not None:
            yield step
            if reason := row.reason(step.id):
                yield row.finish(reason)
                return
        # 2) all others from the server, or prefill of what is there
        if server is not None:
            yield from _follow_server(server, row)
            return
        reused = cache.read(row.ids, progress=progress)
        if open_with is None:
            row.follow_prompt(reused)
    except (Cancelled, NothingLeft, GrammarStuck) as error:
        yield row.broken_off(error)
        return
    # 3) decode steps
    yield from _decode_loop(cache, row, lookup_ids)


def _decode_loop(
    cache: PrefixCache, row: AnswerRow, lookup_ids: Iterable[int] = ()
) -> Iterator[Step | GenerationResult]:
    ahead = SpeculativeDecoder(cache, lookup_ids, row.ids)
    try:
        while True:
            cancellation.check()
            # 1) sample from the logits [V], and report the step
            step, result = row.advance(ahead.logits, ahead=ahead.is_ahead)
            before = row.take_back() if step is not None else None
            if before is not None:
                ahead.go_back(row.ids, before)
                continue
            if step is not None:
                yield step
            # 2) end, or run the token, with guesses, for the next logits
            if step is None or result is not None:
                assert result is not None
                yield result
                return
            ahead.run(step.id, row.room - 1)
    except Cancelled:
        yield row.finish(FinishReason.CANCELLED)


def _follow_server(
    server: DrawingBackend, row: AnswerRow
) -> Iterator[Step | GenerationResult]:
    reason = FinishReason.STOP  # the server sends no more
    with closing(server.draw(list(row.ids), row.server_settings())) as drawn:
        try:
            for token in drawn:
                step = row.follow_server(token)
                yield step
                if ended := row.reason(step.id):
                    reason = ended
                    break
        except Cancelled:
            reason = FinishReason.CANCELLED
    yield row.finish(reason)


def generate_rows(
    cache: PrefixCache,
    rows: Sequence[AnswerRow],
    prompt: Sequence[int],
    *,
    progress: ReportCount | None = None,
) -> Iterator[RowItem]:
    """Generate several answers to a prompt that they share in the KV cache: one token
    of each in a pass, as many at once as memory allows. Yields the index of an answer
    with each of its steps, its result, or the error that it broke off with. An answer
    has the tokens that it has alone.

    Where the model's state can't be copied, or tokens may be taken back, they are
    generated one after the other; of those that had not begun when they were cancelled,
    nothing comes.

    Raises:
        LmtuiError: the prompt can't be read.
    """
    if cache.can_fork and not any(row.goes_back for row in rows):
        return _generate_rows(cache, rows, prompt, progress)
    return one_after_another(
        generate(cache, row, prompt, progress=progress) for row in rows
    )


def _generate_rows(
    cache: PrefixCache,
    rows: Sequence[AnswerRow],
    prompt: Sequence[int],
    progress: ReportCount | None,
) -> Iterator[RowItem]:
    going = dict(enumerate(rows))
    for row in rows:
        row.begin(prompt)
    most = max(1, _BATCH_BYTES // max(1, cache.row_bytes))
    try:
        reused = cache.read(prompt, progress=progress)
        for index, row in enumerate(rows):
            row.follow_prompt(len(prompt) if index else reused)
        for first in range(0, len(rows), most):
            cache.read(prompt)
            batch = range(first, min(first + most, len(rows)))
            yield from _generate_batch(cache, going, list(batch))
    except Cancelled:
        for index, row in going.items():
            yield index, row.finish(FinishReason.CANCELLED)


def _generate_batch(
    cache: PrefixCache, going: dict[int, AnswerRow], batch: list[int]
) -> Iterator[RowItem]:
    """Generate the answers of these indexes; one that ends leaves the batch, and
    `going`."""
    logits, forked = cache.logits, cache.fork(len(batch))
    assert logits is not None and forked is not None
    logits = logits.expand(len(batch), -1)  # [n, V], n rows
    while True:
        # 1) the next token of each row
        tokens: list[int] = []
        kept: list[int] = []
        for row_index, index in enumerate(batch):
            try:
                step, result = going[index].advance(logits[row_index])
            except LmtuiError as error:
                del going[index]
                yield index, error
                continue
            if step is not None:
                yield index, step
            if result is None and going[index].is_stopped:
                result = going[index].finish(FinishReason.STOP)
            if result is not None or step is None:
                assert result is not None
                del going[index]
                yield index, result
                continue
            tokens.append(step.id)
            kept.append(row_index)
        if not kept:
            return
        cancellation.check()
        # 2) one pass for all that are left
        if len(kept) < len(batch):
            forked.select_rows(kept)
            batch = [batch[row_index] for row_index in kept]
        try:
            logits = cache.backend.next_logits(tokens, forked)
        except LmtuiError as error:  # of one row, perhaps, but it ends all
            getLogger("lmtui").warning("answers go on one by one: %s", error)
            yield from _generate_each(cache, going, batch)
            return


def _generate_each(
    cache: PrefixCache, going: dict[int, AnswerRow], batch: Sequence[int]
) -> Iterator[RowItem]:
    """Go on with each answer by itself: only those that fail alone are lost."""
    for index in batch:
        row = going[index]
        try:
            cache.read(row.ids)
            for item in _decode_loop(cache, row):
                yield index, item
        except LmtuiError as error:
            yield index, error
        del going[index]

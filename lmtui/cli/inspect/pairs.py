"""`lmtui score --pairs`: which sentence of minimal pairs a model finds more probable.

Pairs come as tab-separated values, or as JSON lines with the keys of BLiMP (Warstadt et
al., 2020). All numbers are in nats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from lmtui import cancellation, notation
from lmtui.analysis.summary import model_fields
from lmtui.cli.errors import cancel_on_interrupt, note
from lmtui.cli.inspect.rows import Column, Form, Rows
from lmtui.cli.output import Output
from lmtui.cli.progress import meter
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.types import (
    BosRule,
    Encoding,
    ScoredToken,
)
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_token

_BATCH_TOKENS = 512
"""Tokens of one forward pass, about: attention costs their square."""
_KEYS = ["sentence_good", "sentence_bad"]
_HINT = (
    "Give two sentences a line, the good one first, with a tab between them; or JSON "
    "lines with sentence_good and sentence_bad."
)
_COLUMNS = (
    Column("line", 6, notation.count, attrgetter("line")),
    # Sums that leave out another first token each are not shown side by side.
    Column("good", 10, notation.log_prob, lambda row: row.compared(row.logprob_good)),
    Column("bad", 10, notation.log_prob, lambda row: row.compared(row.logprob_bad)),
    Column("difference", 12, notation.number, attrgetter("difference")),
)


Pair = tuple[int, str, str]
"""Number of a line, from 1; its good sentence, and its bad one."""
Batch = list[tuple[Pair, Encoding, Encoding]]


@dataclass(frozen=True, slots=True)
class PairScore:
    """Scores of a pair, in the order of the fields of its row."""

    line: int
    sentence_good: str
    sentence_bad: str
    logprob_good: float
    logprob_bad: float
    difference: float | None
    """None where they differ in a first token without context."""
    first_difference: int
    """Index of the first token that differs."""
    token_good: str
    token_bad: str
    correct: bool | None

    def compared(self, logprob: float) -> float | None:
        return None if self.difference is None else logprob


def write_pairs(
    engine: Engine,
    name: str,
    pairs: Sequence[Pair],
    bos: BosRule,
    form: Form,
) -> None:
    """Score the pairs of a file, and write a row for each, then the accuracy.

    Raises:
        LmtuiError: a sentence is too long, or there is no BOS token.
        Cancelled: Ctrl-C was pressed; complete rows were written.
    """
    output, results = Output(), list[bool | None]()
    heading = "first difference: good | bad"
    writer = Rows("pair", _COLUMNS, heading, form)
    with (
        cancel_on_interrupt(),
        meter("scoring", unit="pairs") as shown,
        cancellation.polling(lambda: shown(len(results), len(pairs))),
    ):
        batches = _batches(engine, name, pairs, bos)
        for row in (row for batch in batches for row in _scored(engine, batch)):
            shown.pause()
            results.append(row.correct)
            tokens = map(visible_token, (row.token_good, row.token_bad))
            writer.write(row, " | ".join(tokens))
    correct, compared = results.count(True), len(results) - results.count(None)
    accuracy, info = correct / compared if compared else None, engine.info
    if form == "json":
        about = {"event": "summary", "file": name, **model_fields(info)}
        counts = {"pairs": len(results), "compared": compared, "correct": correct}
        output.event({**about, **counts, "accuracy": accuracy})
    elif form == "table":
        from lmtui.cli.inspect.plain import model_name  # few outputs need Rich

        output.text(
            f"\naccuracy {notation.percent(accuracy)}: {correct:,} of "
            f"{notation.counted(compared, 'pair')}; {model_name(info)}; log P in nats\n"
        )
    if compared < len(results):
        note(
            f"note: {notation.counted(len(results) - compared, 'pair')} not compared: "
            "the first token differs, and has no probability without context (--bos "
            "yes gives it one)\n"
        )


def read_pairs(document: TextSource) -> list[Pair]:
    """Return the pairs of a text; empty lines are skipped.

    Raises:
        LmtuiError: a line is no pair, or there is none.
    """
    name, text = document.name, document.text
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    lines = enumerate(text.split("\n"), 1)
    filled = [(number, line) for number, line in lines if line.strip()]
    if filled and filled[0][1].split() == _KEYS:
        del filled[0]  # headings
    if not filled:
        raise LmtuiError("there are no pairs", f"{name}, line 1: empty", _HINT)
    is_json = filled[0][1].lstrip().startswith("{")
    pairs = []
    for number, line in filled:
        try:
            fields = json.loads(line) if is_json else None
            good, bad = map(fields.get, _KEYS) if fields else line.split("\t")
            (good + bad).encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            good = bad = ""
        if not (good.strip() and bad.strip()):
            raise LmtuiError("this is not a pair", f"{name}, line {number}", _HINT)
        pairs.append((number, good, bad))
    return pairs


def _batches(
    engine: Engine, name: str, pairs: Sequence[Pair], bos: BosRule
) -> list[Batch]:
    """Tokenise all sentences, and gather pairs that are scored together."""
    batches: list[Batch] = [[]]
    size = 0
    for pair in pairs:
        cancellation.check()
        good, bad = (engine.encode(text, bos=bos) for text in pair[1:])
        longest = len(good.prefix) + max(len(good.ids), len(bad.ids))
        if 0 < engine.info.context < longest:
            detail = f"{name}, line {pair[0]}: {longest:,} tokens"
            hint = f"Shorten it to {engine.info.context:,} tokens."
            raise LmtuiError("a sentence does not fit the context", detail, hint)
        size += len(good.ids) + len(bad.ids)
        if batches[-1] and size > _BATCH_TOKENS:
            batches.append([])
            size = len(good.ids) + len(bad.ids)
        batches[-1].append((pair, good, bad))
    return batches


def _scored(engine: Engine, batch: Batch) -> Iterator[PairScore]:
    texts = [text for _, *both in batch for text in both]
    if engine.info.precision == "remote":
        scores = (list(engine.score(text.ids, prefix=text.prefix)) for text in texts)
    else:
        prompts = [(*text.prefix, *text.ids) for text in texts]
        before = len(texts[0].prefix)
        scored = engine.score_prompts(prompts, SamplingSettings())
        scores = (list(prompt.tokens[before:]) for prompt in scored if prompt)
    for pair, *_ in batch:
        yield _row(pair, next(scores), next(scores))


def _row(
    pair: Pair, good: Sequence[ScoredToken], bad: Sequence[ScoredToken]
) -> PairScore:
    at = common_prefix_len([t.id for t in good], [t.id for t in bad])
    own, other = (math.fsum(t.logprob or 0.0 for t in some) for some in (good, bad))
    known = at > 0 or all(t.logprob is not None for t in (*good[:1], *bad[:1]))
    return PairScore(
        *pair,
        own,
        other,
        own - other if known else None,
        at,
        good[at].text if at < len(good) else "",
        bad[at].text if at < len(bad) else "",
        own > other if known else None,
    )

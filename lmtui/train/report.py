"""The report of a training, as Markdown, JSON and lines of text.

It quotes notes, so it is as private as they are; it contains no paths of this machine.
Knows neither a model nor a screen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lmtui import notation
from lmtui.engine.types import Prompt
from lmtui.notation import bits
from lmtui.text import visible_line, visible_token
from lmtui.train.events import Continuation
from lmtui.train.metrics import (
    Answers,
    DocumentScore,
    LossTotals,
    Memorized,
    together,
)
from lmtui.train.verdict import (
    PRIVACY,
    WORD_FOR_WORD,
    DocumentChange,
    TokenChange,
    Verdict,
    document_changes,
    judge,
)

_SHOWN = 10  # documents, and tokens, listed for gains and for losses
_AGAIN = "The figures of one held-out document:"
_PICTURED = 240  # code points of a quotation
_BACKTICKS = re.compile("`+")

Row = tuple[str, ...]
"""A row of a table."""

Quote = Callable[[int, int], tuple[str, str]]
"""Maps a held-out document's number and a position in its ids to the text before the
position and the text of the token there."""


@dataclass(frozen=True, slots=True)
class Report:
    """The effect of a training on a model, with the best weights."""

    name: str
    base: str
    method: str
    steps: int
    best_step: int
    before: LossTotals | None
    """Totals of the held-out documents; None where nothing was held out."""
    after: LossTotals | None
    neutral_before: LossTotals | None
    neutral_after: LossTotals | None
    verdict: Verdict
    samples: tuple[Continuation, ...]
    documents: tuple[DocumentChange, ...]
    """Held-out documents, the one with the largest gain first."""
    gained: tuple[TokenChange, ...]
    """Held-out tokens that became more probable, the largest change first."""
    lost: tuple[TokenChange, ...]
    recalled_before: Memorized | None
    recalled: Memorized | None
    inspect: str = ""
    """The command that shows one held-out document's figures; empty where there is
    none."""

    @property
    def warnings(self) -> tuple[str, ...]:
        run = self.recalled
        if run is None or run.tokens < WORD_FOR_WORD:
            return (PRIVACY,)
        return (
            f"It repeats at least {run.tokens} tokens of {visible_line(run.path)} "
            "word for word.",
            PRIVACY,
        )


def token_changes(
    before: Sequence[DocumentScore], after: Sequence[DocumentScore], quote: Quote
) -> tuple[tuple[TokenChange, ...], tuple[TokenChange, ...]]:
    """Return the tokens whose probability rose most, and those whose fell most."""
    changes = [
        (b - a, number, index)
        for number, pair in enumerate(zip(before, after, strict=True))
        for index, (a, b) in enumerate(
            zip(pair[0].logprobs, pair[1].logprobs, strict=True)
        )
        if a is not None and b is not None
    ]
    changes.sort(key=lambda change: (-change[0], *change[1:]))

    def quoted(change: tuple[float, int, int]) -> TokenChange:
        _, number, index = change
        costs = (bits(s[number].logprobs[index] or 0.0) for s in (before, after))
        return TokenChange(before[number].path, *quote(number, index), *costs)

    gained = [quoted(change) for change in changes[:_SHOWN] if change[0] > 0]
    lost = [quoted(change) for change in changes[: -_SHOWN - 1 : -1] if change[0] < 0]
    return tuple(gained), tuple(lost)


def to_markdown(report: Report) -> str:
    verdict = f"**{report.verdict.sentence}** {report.verdict.because}"
    made = (
        f"Base: {_inline(report.base)} · method: {report.method} · steps: "
        f"{report.steps:,}, weights kept: those of step {report.best_step:,}"
    )
    again = f"{_AGAIN} `{report.inspect}`" if report.inspect else ""
    warnings = "\n>\n".join(f"> {_inline(warning)}" for warning in report.warnings)
    parts = (
        *(f"# {_inline(report.name)}", verdict, made, _table(*_figures(report))),
        *(again, warnings, *_sections(report), _recalled(report)),
    )
    return "\n\n".join(filter(None, parts)) + "\n"


def to_lines(report: Report) -> list[str]:
    """Return the verdict and the figures as lines for a terminal, safe to print."""
    lines = [report.verdict.sentence, report.verdict.because, ""]
    widths = [max(map(len, column)) for column in zip(*_figures(report), strict=True)]
    for first, *rest in _figures(report):
        cells = (cell.rjust(n) for cell, n in zip(rest, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    again = [f"{_AGAIN} {report.inspect}"] if report.inspect else []
    return [*lines, *again, "", *report.warnings]


def _figures(report: Report) -> Iterator[Row]:
    """Yield the rows of the table of figures, the head first."""
    yield "", "before", "after", "change"
    pairs = (
        ("held out", report.before, report.after),
        ("neutral", report.neutral_before, report.neutral_after),
    )
    for what, before, after in pairs:
        if before is None or after is None:
            continue
        for field, (label, written) in notation.MEASURES.items():
            old, new = getattr(before, field), getattr(after, field)
            if old is None or new is None:
                continue
            share = notation.change((new - old) / old if old else 0.0)
            yield f"{what}: {label.full}", written(old), written(new), share


def _sections(report: Report) -> Iterator[str]:
    samples = [
        tuple(map(_code, (_tail(sample.prompt), sample.before, sample.now)))
        for sample in report.samples
    ]
    yield _section("Continuations", ("prompt", "before", "after"), samples)
    documents = [
        (
            *(_code(item.path), f"{item.tokens:,}"),
            *map(notation.rate, (item.loss_before, item.loss_after)),
        )
        for item in report.documents
    ]
    title = "Held-out documents, the one that gained most first"
    head = ("document", "tokens", "loss before", "loss after")
    yield _section(title, head, documents)
    for title, changes in (
        ("Tokens that gained most", report.gained),
        ("Tokens that lost most", report.lost),
    ):
        tokens = [
            (
                *(_code(visible_token(change.text)), _code(_tail(change.before_it))),
                *map(notation.in_bits, (change.bits_before, change.bits_after)),
                _code(change.path),
            )
            for change in changes
        ]
        columns = ("token", "after", "bits before", "bits after", "document")
        yield _section(title, columns, tokens)


def _section(title: str, head: Row, rows: Sequence[Row]) -> str:
    """Return a table with its title, cut in its middle where it is long; empty without
    rows."""
    if not rows:
        return ""
    if len(rows) <= 2 * _SHOWN:
        return f"## {title}\n\n{_table(head, *rows)}"
    table = _table(head, *rows[:_SHOWN], *rows[-_SHOWN:])
    return f"## {title}\n\n{table}\n\nThe first and the last {_SHOWN} of {len(rows):,}."


def _recalled(report: Report) -> str:
    run, before = report.recalled, report.recalled_before
    if run is None:
        return ""
    words = (
        "## Word for word\n\nGiven the beginnings of documents it was trained on, the "
        f"longest run of training text that it repeats is {run.tokens} tokens"
        + (f"; before the training it was {before.tokens}." if before else ".")
    )
    return words + (f"\n\n{_code(run.path)}: {_code(run.text)}" if run.text else "")


def _table(head: Row, *rows: Row) -> str:
    ruled = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def _inline(text: str) -> str:
    """Escape foreign text so that nothing in it is Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", visible_line(text))


def _code(text: str) -> str:
    """Return foreign text as inline code for a table cell.

    Any backticks are fine; newlines and bars are replaced or escaped.
    """
    shown = visible_line(text.replace("\n", "⏎"))
    if len(shown) > _PICTURED:
        shown = shown[: _PICTURED - 1] + "…"
    shown = shown.replace("|", "\\|") or " "
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(shown)), default=0))
    space = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _tail(text: str) -> str:
    return text if len(text) <= _PICTURED // 2 else "…" + text[-_PICTURED // 2 :]


def compare(
    before: Answers,
    after: Answers,
    *,
    name: str,
    base: str,
    method: str,
    steps: int,
    best_step: int,
    inspect: str = "",
    prompts: Sequence[Prompt],
    quote: Quote,
) -> Report:
    gained, lost = token_changes(before.held_out, after.held_out, quote)
    neutral = together([before.neutral]), together([after.neutral])
    texts = zip(prompts, before.continued, after.continued, strict=True)
    return Report(
        name=name,
        base=base,
        method=method,
        steps=steps,
        best_step=best_step,
        inspect=inspect,
        before=together(before.held_out),
        after=together(after.held_out),
        neutral_before=neutral[0],
        neutral_after=neutral[1],
        verdict=judge(before.held_out, after.held_out, *neutral),
        samples=tuple(Continuation(p.text, old, new) for p, old, new in texts),
        documents=tuple(document_changes(before.held_out, after.held_out)),
        gained=gained,
        lost=lost,
        recalled_before=before.recalled,
        recalled=after.recalled,
    )

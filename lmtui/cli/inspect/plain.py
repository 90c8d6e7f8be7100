"""`lmtui inspect --plain`: the shaded text, and five lines on one or two models.

The layout is 80 columns wide. Control characters in foreign text are made visible.
Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from lmtui import notation
from lmtui import surprisal_scale as scale
from lmtui.analysis.compare import NOTICEABLE, Comparison, Unit, covered
from lmtui.analysis.summary import Summary, figures
from lmtui.cli.inspect.text_scores import ScoredRow, TextScores
from lmtui.engine.types import EngineInfo
from lmtui.models.source import short_label, short_labels
from lmtui.notation import bits, counted
from lmtui.text import visible, visible_line

SURPRISE = (
    "dim",
    "none",
    "cyan underline",
    "magenta bold underline",
    "red reverse",
    "red bold reverse underline",
)

DIFFERENCE = (
    "red bold reverse",
    "red reverse",
    "red italic",
    "dim",
    "cyan underline",
    "cyan bold underline",
    "cyan bold italic underline",
)
"""Style of each step of difference: how much more another model expected the text."""

_PLAIN = {"dim", "none"}  # too weak to mark newlines

_NAMED = 17  # width of the column of names
_UNITS: dict[Unit, str] = {
    "token": "tokens",
    "span": "parts of the text that both cut alike",
}
_PART = 4096  # characters of one line that are drawn at once


def surprise_style(value: float | None) -> str:
    return "none" if value is None else SURPRISE[scale.step(value, "surprisal")]


def difference_style(value: float | None) -> str:
    middle = len(DIFFERENCE) // 2
    return (
        "none" if value is None else DIFFERENCE[scale.difference_step(value) + middle]
    )


def _sign(difference: float | None) -> str:
    """Return the sign of a difference that is large enough."""
    if difference is None or abs(difference) < scale.SIGNED:
        return ""
    return "⁺" if difference > 0 else "⁻"


def legend_of(measure: scale.Shade, styles: Sequence[str]) -> Text:
    legend = Text(f"{measure}  ")
    for words, style in zip(scale.explained(measure), styles, strict=True):
        legend.append(words, style)
        legend.append("  ")
    return legend.append(scale.unit(measure))


def totals_of(summary: Summary) -> dict[str, str]:
    """Return one model's totals of a text."""
    totals, known = summary.totals, figures(summary.totals)
    tokens = f"{totals.tokens:,}, {totals.scored:,} scored"
    if totals.tokens and not totals.scored:
        tokens += ": the first has no context (--bos yes gives it one)"
    if summary.stored is not None:
        ids = "kept ids" if summary.stored else "re-tokenised"
        tokens += f", after {summary.before:,} tokens, {ids}"
    if summary.rewritten:
        tokens += f"; {counted(summary.rewritten, 'character')} read as others"
    labels = notation.LOG_PROB, notation.PERPLEXITY, notation.PER_BYTE
    return {
        "tokens": tokens,
        **{label.full: known[label.full] for label in labels},
        "model": model_line(summary),
    }


def comparison_of(
    own: Summary, other: Summary, comparison: Comparison
) -> dict[str, str]:
    """Return two models' totals of the text that both scored, and their difference."""
    sums = comparison.sums()
    whole = comparison.bits
    if whole is None:
        difference = "nothing could be compared"
    elif abs(whole) < NOTICEABLE / 2:
        difference = f"{notation.difference(whole)} bits: the same"
    else:
        more = "more" if whole > 0 else "less"
        words = f"the other model expected the text {more}"
        difference = f"{notation.difference(whole)} bits: {words}"
    labels = short_labels(own.info.label, other.info.label)
    return {
        "compared": f"{comparison.compared:,} {_UNITS[comparison.unit]}",
        "surprisal, bits": " · ".join(notation.surprisal(each.known) for each in sums),
        "bits/byte": " · ".join(notation.rate(each.bits_per_byte) for each in sums),
        "difference": difference,
        "models": " · ".join(map(visible_line, labels)),
    }


def model_line(summary: Summary) -> str:
    """Return the name of a model, and for a file whether it began with BOS."""
    name = model_name(summary.info)
    if summary.stored is not None:
        return name
    return f"{name}, {'with' if summary.bos else 'without'} BOS"


def model_name(info: EngineInfo) -> str:
    """Return the short label of a model, since a path is private, and wide; with its
    precision and number format."""
    label = visible_line(short_label(info.label))
    return f"{label} ({info.precision}, {info.number_format})"


def write_plain(console: Console, scores: TextScores) -> None:
    """Write a text while it is scored, then the legend and the totals.

    With another model it is shaded by how much more that one expected each part, not by
    the surprisal under the first one.
    """
    document, compares = scores.document, scores.compares
    lines = _Lines(console)
    for text, spans in covered(document.text, scores.pieces()):
        values = [span.bits if compares else _bits(span.logprob) for span in spans]
        known = [value for value in values if value is not None]
        value = sum(known) if known else None
        style = difference_style(value) if compares else surprise_style(value)
        lines.add(text, style, _sign(value) if compares else "")
    lines.flush(newline=lines.is_begun or not document.text.endswith("\n"))
    console.print()
    if console.is_terminal:
        shade: tuple[scale.Shade, Sequence[str]] = ("surprisal", SURPRISE)
        if compares:
            shade = "difference", DIFFERENCE
        console.print(legend_of(*shade), soft_wrap=True)
        console.print()
    for name, words in _totals(scores.row()).items():
        line = Text.assemble((f"{name:<{_NAMED}}", "bold"), words)
        console.print(line, soft_wrap=True)


def _totals(row: ScoredRow) -> dict[str, str]:
    if row.other and row.comparison:
        return comparison_of(row.own, row.other, row.comparison)
    return totals_of(row.own)


def _bits(logprob: float | None) -> float | None:
    return None if logprob is None else bits(logprob)


class _Lines:
    """Lines of shaded text, printed as they are complete."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line = Text()

    @property
    def is_begun(self) -> bool:
        return bool(self._line)

    def add(self, text: str, style: str, sign: str) -> None:
        shown = visible(text)
        if self._console.is_terminal:
            if style not in _PLAIN:
                shown = shown.replace("\n", "⏎\n")
            if sign:
                body = shown.rstrip()
                shown = f"{body}{sign}{shown[len(body) :]}"
        for part in shown.splitlines(keepends=True):
            self._line.append(part.removesuffix("\n"), style)
            if part.endswith("\n"):
                self.flush(newline=True)
            elif len(self._line) > _PART:
                self.flush(newline=False)

    def flush(self, *, newline: bool) -> None:
        if newline or self._line:
            end = "\n" if newline else ""
            self._console.print(self._line, soft_wrap=True, end=end)
            self._line = Text()

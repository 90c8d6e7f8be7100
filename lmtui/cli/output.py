"""Reading of input texts, and writing of results: plain text, tables, JSON lines.

JSON is UTF-8; control and bidi characters are escaped (the value is the same, a
terminal can't obey them), NaN and infinity become null.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import typer

from lmtui.cli.errors import note, output_failed
from lmtui.engine.lens import LensRow
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.totals import perplexity, typicality
from lmtui.engine.types import Candidate, ScoredToken, Step
from lmtui.errors import LmtuiError
from lmtui.files import TextSource, not_utf8, read_file, read_text
from lmtui.partial import EntropyRange, RankAbove, exact_entropy, exact_rank
from lmtui.text import safe_json, visible_flow, visible_line

STDIN = "-"

_UNLIMITED = 1000  # cells: the width of a table that is not for a terminal


def read_document(name: str) -> TextSource:
    """Read the text of a file, or stdin for `-`."""
    return TextSource(name, read_stdin()) if name == STDIN else read_file(name)


def read_system(system: str) -> str:
    """Return the system prompt of `--system`, read from a file for `@FILE`."""
    if system.startswith("@"):
        return read_document(system[1:]).text
    return require_text(system, "--system")


def read_stdin() -> str:
    """Read all of stdin."""
    if sys.stdin is not None and sys.stdin.buffer.closed:
        hint = "Name it once, or save the text in a file."
        raise LmtuiError("stdin can be read only once", "", hint)
    if sys.stdin is None:
        raise LmtuiError("stdin is closed", "", "Give a file, or pipe a text.")
    return read_text("stdin", lambda: sys.stdin.buffer)


def require_text(text: str, what: str) -> str:
    """Return `text`, an argument of the command line, if it is valid UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise not_utf8(what, len(text[: error.start].encode("utf-8"))) from None
    return text


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    terminal: bool,
) -> str:
    """Return the rows under their headings; the columns `right` are right-aligned."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, heading in enumerate(headings):
        grid.add_column(
            Text(heading),
            justify="right" if number in right else "left",
            no_wrap=number != len(headings) - 1,
            overflow="fold",
        )
    for row in rows:
        grid.add_row(*(Text(visible_line(cell)) for cell in row))
    width = shutil.get_terminal_size().columns if terminal else _UNLIMITED
    buffer = io.StringIO()
    Console(file=buffer, width=width, color_system=None).print(grid)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


JsonEvent = Mapping[str, Any]


def encode(event: JsonEvent) -> str:
    """Return `event` as one line of JSON, with its newline."""
    try:
        line = _dumps(event)
    except ValueError:  # NaN or infinity
        line = _dumps(_finite(event))
    return safe_json(line) + "\n"


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    """Return `value` with every NaN and infinity in it replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def sampling_fields(sampling: SamplingSettings) -> JsonEvent:
    """Return all sampling settings, in the order in which they are applied."""
    return {name: getattr(sampling, name) for name in sampling.__slots__}


def score_fields(token: Step | ScoredToken | LensRow) -> JsonEvent:
    """Return log-probability and rank of a token, and the numbers of its distribution;
    where a server lists only the most probable ones, what is known of rank and entropy
    beside null."""
    entropy = exact_entropy(token.entropy)
    fields: dict[str, Any] = {
        "logprob": token.logprob,
        "rank": exact_rank(token.rank),
        "entropy": entropy,
        "varentropy": token.varentropy,
        "effective_choices": perplexity(entropy),
        "typicality": typicality(token),
    }
    if isinstance(token.rank, RankAbove):
        fields["rank_above"] = token.rank.listed
    if isinstance(token.entropy, EntropyRange):
        least, most = token.entropy
        fields["entropy_range"] = [least, most if math.isfinite(most) else None]
    return fields


def grammar_fields(step: Step) -> JsonEvent:
    """Return what the grammar allowed at a step; no fields without one."""
    allowed = step.distribution.allowed
    if allowed is None:
        return {}
    mass = step.distribution.allowed_prob
    return {"allowed": allowed, "allowed_prob": mass, "forced": step.forced}


def drawn_rows(candidates: Sequence[Candidate]) -> list[JsonEvent]:
    """Return the candidates of a sampling step, with the sampler's result for each."""
    return [
        {
            "id": row.id,
            "text": row.text,
            "logprob": row.logprob,
            "sampled_prob": row.sampled_prob,
            "cut": row.cut,
            **({"changed": row.changed} if row.changed else {}),
        }
        for row in candidates
    ]


def scored_rows(candidates: Sequence[Candidate]) -> list[JsonEvent]:
    """Return the candidates at a scored position, where nothing was sampled."""
    return [
        {"id": row.id, "text": row.text, "logprob": row.logprob} for row in candidates
    ]


class Output:
    """Stream that results are written to: stdout, or the one given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self._at_line_start = True

    def text(self, text: str) -> None:
        """Write foreign text; on a terminal, control characters are made visible."""
        if text:
            self._at_line_start = text.endswith("\n")
            self._write(visible_flow(text) if self.is_terminal else text)

    def end_line(self) -> None:
        """Write a newline unless the last text ended with one."""
        if not self._at_line_start:
            self.text("\n")

    def event(self, event: JsonEvent) -> None:
        self._write(encode(event))

    def tsv(self, cells: Iterable[str | float | None]) -> None:
        """Write a row of tab-separated values, with quotes where CSV needs them."""
        row = io.StringIO()
        csv.writer(row, delimiter="\t", lineterminator="\n").writerow(
            f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells
        )
        self.text(row.getvalue())

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output_failed(error) from error


def stdin_is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def confirm_removal(what: str) -> None:
    """Show what is to be removed, a line each, and ask whether to.

    Raises:
        LmtuiError: there is no terminal to ask on.
        typer.Abort: it is not to be removed.
    """
    if not stdin_is_terminal():
        raise LmtuiError(
            "removing needs a confirmation",
            "there is no terminal to ask on",
            "Add --yes.",
        )
    note(what)
    typer.confirm("Remove this permanently?", abort=True, err=True)


def prepare_streams() -> None:
    """Set the encodings of stdout and stderr.

    A pipe or file gets UTF-8; a terminal keeps its encoding, and characters that it
    lacks are written as backslash escapes. A closed stdout is replaced by the null
    device.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is None:
            continue
        if stream.isatty():
            reconfigure(errors="backslashreplace")
        else:
            reconfigure(encoding="utf-8", errors="backslashreplace")

"""Plain tables for lists.

Owns their layout: aligned columns without lines or colours, as wide as the terminal
or, in a pipe, as wide as they need, so that nothing is cut there.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence

from lmtui.text import visible_line

_UNLIMITED = 1000  # cells


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    terminal: bool,
) -> str:
    """The rows under their headings; columns in `right` are set to the right."""
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

"""`lmtui themes`: list the themes with samples of their colours, or print a theme file.

Colours and theme files are defined in `lmtui.tui.themes`, imported when the command
runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lmtui import paths
from lmtui.cli import completion, options
from lmtui.cli.errors import note
from lmtui.cli.output import JsonEvent, Output, table
from lmtui.config.settings import Settings
from lmtui.text import visible, visible_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from textual.theme import Theme

    from lmtui.tui.themes import Themes

Show = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Print the file of this theme.",
        autocompletion=completion.themes,
    ),
]

_SENTENCE = (" The", " sky", " is", " made", " of", " marmalade ")
"""A word for each step of the surprisal scale."""

_PROB, _SAMPLED_PROB, _CELLS = 0.75, 0.5, 8  # of the sample's probability bar


def themes(
    *, show: Show = None, json: options.Json = False, no_color: options.NoColor = False
) -> None:
    """List the themes, on a colour terminal with a sample of each.

    Your own themes are TOML files in the folder that is printed below the list; it need
    not exist yet. Start from a shipped theme and give yours a new name: a theme with
    the name of a shipped one replaces it.

    \b
    Examples:
      lmtui themes
      lmtui themes --json
      lmtui themes --show ember > mine.toml
      lmtui chat --theme paper
    """
    from lmtui.cli.inspect.plain import terminal_console
    from lmtui.tui.themes import load_themes

    settings = options.loaded()
    loaded = load_themes(paths.themes_folder())
    output = Output()
    if show is not None:
        output.text(_file_of(show, loaded))
        return
    _tell_what_is_wrong(settings, loaded)
    console = terminal_console(no_color=no_color)
    if json:
        for theme in loaded.themes:
            output.event(_event(theme, loaded, settings))
        return
    if console.is_terminal and console.color_system and not console.no_color:
        _print_samples(loaded, settings, console)
    else:
        _write_table(loaded, settings, output)
    output.text(f"\nyour own themes: {paths.themes_folder()}\n")


def _file_of(name: str, themes: Themes) -> str:
    if name not in themes.paths:
        raise themes.unknown(name)
    return themes.paths[name].read_text(encoding="utf-8")


def _tell_what_is_wrong(settings: Settings, themes: Themes) -> None:
    for skipped in themes.notices:
        where = visible_line(str(skipped.path))
        note(f"note: {where} was skipped: {skipped.reason}\n")
    if themes.get(settings.theme) is None:
        error = themes.unknown(settings.theme)
        origin = settings.origin("theme").where
        note(f"note: {visible(str(error))} in {visible_line(origin)}; {error.hint}\n")


def _is_used(theme: Theme, themes: Themes, settings: Settings) -> bool:
    return theme == themes.or_default(settings.theme)


def _origin(theme: Theme, themes: Themes) -> str:
    return "shipped" if themes.is_shipped(theme.name) else "yours"


def _kind(theme: Theme) -> str:
    return "dark" if theme.dark else "light"


def _event(theme: Theme, themes: Themes, settings: Settings) -> JsonEvent:
    from lmtui.tui.themes import BASE

    return {
        "event": "theme",
        "name": theme.name,
        "kind": _kind(theme),
        "from": _origin(theme, themes),
        "file": str(themes.paths[theme.name]),
        "in_use": _is_used(theme, themes, settings),
        "colours": {name: getattr(theme, name) for name in BASE} | theme.variables,
    }


def _write_table(themes: Themes, settings: Settings, output: Output) -> None:
    rows = [
        [
            theme.name,
            _kind(theme),
            _origin(theme, themes),
            "yes" if _is_used(theme, themes, settings) else "",
        ]
        for theme in themes.themes
    ]
    headings = ("NAME", "KIND", "FROM", "IN USE")
    output.text(table(headings, rows, terminal=output.is_terminal))


def _print_samples(themes: Themes, settings: Settings, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "NAME", "KIND", "FROM", "SAMPLE"):
        grid.add_column(heading, no_wrap=True)
    for theme in themes.themes:
        mark = "●" if _is_used(theme, themes, settings) else ""
        words = (mark, theme.name, _kind(theme), _origin(theme, themes))
        grid.add_row(*map(Text, words), sample(theme))
    console.print(grid)


def sample(theme: Theme) -> Text:
    """Draw a sample of a theme on its own background.

    A word for each step of surprisal, then a bar of the probability panel.
    """
    from rich.text import Text

    from lmtui.chart import bar

    line = Text(style=f"on {theme.background}")
    for step, word in enumerate(_SENTENCE):
        line.append(word, theme.variables[f"surprise-{step}"])
    drawn = bar(_PROB, _SAMPLED_PROB, _CELLS)
    over = round(_SAMPLED_PROB * _CELLS)
    line.append(drawn[:over], theme.variables["prob-sampled"])
    line.append(f"{drawn[over:]} ", theme.variables["prob-raw"])
    return line

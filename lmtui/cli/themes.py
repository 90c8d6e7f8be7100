"""`lmtui themes`: list the names of the themes, or print a theme file.

Theme files are defined in `lmtui.tui.themes`, imported when the command runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lmtui import paths
from lmtui.cli import completion, options
from lmtui.cli.errors import note
from lmtui.cli.output import Output
from lmtui.text import visible, visible_line

Show = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Print the file of this theme.",
        autocompletion=completion.themes,
    ),
]


def themes(*, show: Show = None) -> None:
    """List the themes.

    Your own themes are TOML files in the folder that is printed below the list; it need
    not exist yet. Start from a shipped theme and give yours a new name: a theme with
    the name of a shipped one replaces it.

    \b
    Examples:
      lmtui themes
      lmtui themes --show light > mine.toml
      lmtui chat --theme high-contrast
    """
    from lmtui.tui.themes import load_themes

    loaded = load_themes(paths.themes_folder())
    output = Output()
    if show is not None:
        if show not in loaded.paths:
            raise loaded.unknown(show)
        output.text(loaded.paths[show].read_text(encoding="utf-8"))
        return
    for skipped in loaded.notices:
        where = visible_line(str(skipped.path))
        note(f"note: {where} was skipped: {skipped.reason}\n")
    settings = options.loaded()
    if loaded.get(settings.theme) is None:
        error = loaded.unknown(settings.theme)
        origin = settings.origin("theme").where
        note(f"note: {visible(str(error))} in {visible_line(origin)}; {error.hint}\n")
    for theme in loaded.themes:
        output.text(f"{theme.name}\n")
    output.text(f"\nyour own themes: {paths.themes_folder()}\n")

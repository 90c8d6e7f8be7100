"""`lmtui history`: the conversations that were kept, and taking them elsewhere.

Owns the words and tables of these verbs; what they do is done in `lmtui.chat`. Neither
torch nor a model is needed.
"""

from __future__ import annotations

from datetime import datetime
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.chat.exporting import Format, written
from lmtui.cli import completion, options
from lmtui.cli.edge import note
from lmtui.cli.exchange import export, import_files
from lmtui.cli.jsonl import Event
from lmtui.cli.output import Output, stdin_is_terminal
from lmtui.cli.stored import Which, load, read, use
from lmtui.cli.table import table
from lmtui.errors import LmtuiError
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.chat.listed import Listed
    from lmtui.chat.search import Hit
    from lmtui.chat.store import Store

app = options.group(
    "List, search, show, export, import and delete conversations.",
    "lmtui history list",
    "lmtui history search lighthouse",
    "lmtui history export last > talk.md",
)


Limit = Annotated[
    int, typer.Option(min=0, metavar="N", help="Show at most this many; 0 shows all.")
]
_WITH_MODEL = 100  # columns of a terminal from which on the model is listed
_OURS = ("uid", "touched")  # of no use outside
EMPTY = "no conversations yet; `lmtui chat` saves them here\n"


@app.command("list")
def show_list(
    *,
    archived: Annotated[
        bool, typer.Option("--archived", help="Include archived conversations.")
    ] = False,
    limit: Limit = 50,
    json: options.Json = False,
) -> None:
    """List the conversations, the pinned ones first, then the last used.

    \b
    Examples:
      lmtui history list
      lmtui history list --limit 0 --archived --json
    """
    output = Output()

    def find(store: Store) -> tuple[list[Listed], int]:
        return store.listed(archived=archived, limit=limit or -1), store.count()

    found, total = read(find) or ([], 0)
    if json:
        for listed in found:
            output.event({"event": "conversation", **_fields(listed)})
    elif found:
        output.text(_table(found, terminal=output.is_terminal))
        if len(found) < total:
            note(f"note: {len(found):,} of {total:,}; --limit 0 --archived lists all\n")
    else:
        output.text(EMPTY)


@app.command("search")
def search(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORDS...", help="Words, or '\"a phrase\"'.", show_default=False
        ),
    ],
    *,
    limit: Limit = 50,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> None:
    """Find the messages that contain all of these words, the newest first.

    The last word may be incomplete. Words in quotes must stand together.

    \b
    Examples:
      lmtui history search lighthouse
      lmtui history search capital fra
      lmtui history search '"capital of France"' --json
    """
    from lmtui.chat import search as searching

    output, text = Output(), " ".join(words)
    found = read(lambda store: searching.search(store, text, limit=limit or -1)) or []
    if json:
        for hit in found:
            output.event(_hit_event(hit))
    elif found:
        _print_hits(found, no_color=no_color)
    else:
        note("no conversation found\n")


@app.command("show")
def show_one(which: Which, json: options.Json = False) -> None:
    """Show the current branch of a conversation.

    With --json everything is written, as in an export: every branch, with token ids and
    numbers.

    \b
    Examples:
      lmtui history show last
      lmtui history show 12 --json
    """
    loaded = load(which)
    wanted = Format.JSON if json else Format.MARKDOWN
    Output().text(written(wanted, loaded.conversation, loaded.about.facts))


app.command("export")(export)
app.command("import")(import_files)


@app.command("delete")
def delete(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="ID|last...",
            help="Numbers from `lmtui history list`, or last.",
            show_default=False,
            autocompletion=completion.conversations,
        ),
    ],
    yes: options.Yes = False,
) -> None:
    """Delete conversations permanently.

    \b
    Examples:
      lmtui history delete 12
      lmtui history delete 3 4 5 --yes
    """
    # Each is looked at before any is deleted.
    found = [load(each).about for each in which]
    if not yes:
        _confirm(found)

    def remove(about: Listed) -> None:
        use(lambda store: store.remove(about.id))

    for about in found:
        remove(about)
        Output().text(f"deleted {about.id}  {visible_line(about.title)}\n")


def _fields(about: Listed) -> Event:
    return {name: getattr(about, name) for name in about.__slots__ if name not in _OURS}


def _table(found: list[Listed], *, terminal: bool) -> str:
    """A row a conversation; with its model where there is room for it."""
    headings: tuple[str, ...] = ("ID", "USED", "MESSAGES", "MODEL", "", "TITLE")
    rows: list[tuple[str, ...]] = [_row(listed) for listed in found]
    if terminal and get_terminal_size().columns < _WITH_MODEL:
        headings = headings[:3] + headings[4:]
        rows = [row[:3] + row[4:] for row in rows]
    return table(headings, rows, right=(0, 2), terminal=terminal)


def _row(about: Listed) -> tuple[str, ...]:
    used = datetime.fromtimestamp(about.updated).strftime("%Y-%m-%d %H:%M")
    model = (about.model or "").rpartition("/")[2]
    marks = [name for name in ("pinned", "archived") if getattr(about, name)]
    messages = f"{about.messages:,}"
    return (str(about.id), used, messages, model, ", ".join(marks), about.title)


def _hit_event(hit: Hit) -> Event:
    return {
        "event": "hit",
        "conversation": hit.conversation,
        "message": hit.message,
        "title": hit.title,
        "archived": hit.archived,
        "role": hit.role,
        "text": hit.passage.text,
        "places": [list(place) for place in hit.passage.places],
    }


def _print_hits(found: list[Hit], *, no_color: bool) -> None:
    from rich.text import Text

    from lmtui.cli.shading import terminal_console

    console = terminal_console(no_color=no_color)
    for hit in found:
        head = f"{hit.conversation}:{hit.message}  {visible_line(hit.title)}"
        console.print(Text(head, "bold"), soft_wrap=True)
        line, at = Text("  "), 0
        for start, end in hit.passage.places:
            line.append(_shown(hit.passage.text[at:start]))
            line.append(_shown(hit.passage.text[start:end]), "bold reverse")
            at = end
        line.append(_shown(hit.passage.text[at:]))
        console.print(line, soft_wrap=True)


def _shown(text: str) -> str:
    """A part of a message on one line."""
    return visible_line(text.replace("\n", " "))


def _confirm(found: list[Listed]) -> None:
    if not stdin_is_terminal():
        raise LmtuiError(
            "deleting needs a confirmation",
            "there is no terminal to ask on",
            "Add --yes.",
        )
    for about in found:
        note(f"{about.id}  {visible_line(about.title)}  {about.messages:,} messages\n")
    typer.confirm("Delete permanently?", abort=True, err=True)

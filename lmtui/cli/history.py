"""`lmtui history`: list, search, show, export, import and delete conversations.

Formats the output; the work is done in `lmtui.chat`. Needs neither torch nor a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from operator import methodcaller
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lmtui import paths
from lmtui.chat.conversation import Conversation, new_uid
from lmtui.chat.export import Format, format_of, write_new, written
from lmtui.cli import completion, options
from lmtui.cli.errors import note
from lmtui.cli.output import Output, confirm_removal, read_document, table
from lmtui.errors import LmtuiError
from lmtui.notation import counted
from lmtui.text import visible, visible_line

if TYPE_CHECKING:
    from lmtui.chat.search import Hit
    from lmtui.chat.store import Store
    from lmtui.chat.summary import (
        ConversationMeta,
        ConversationSummary,
        StoredConversation,
    )

T = TypeVar("T")

Which = Annotated[
    str,
    typer.Argument(
        metavar="ID|last",
        help="A number from `lmtui history list`, or last for the one used last.",
        autocompletion=completion.conversations,
    ),
]

_AT_ONCE = 50  # conversations that an export loads at a time
_WITH_MODEL = 100  # least columns of a terminal for the column MODEL
_SHOWN = ("id", "title", "named", "pinned", "messages", "preview", "model",
          "created", "updated", "thinking")  # fmt: skip
EMPTY = "no conversations yet; `lmtui chat` saves them here\n"


def read(work: Callable[[Store], T]) -> T | None:
    """Run `work` on the store; return None if no store exists yet."""
    return use(work) if paths.chats_file().exists() else None


def use(work: Callable[[Store], T]) -> T:
    """Run `work` on the store and return its result.

    A damaged store is replaced first, which is reported on stderr; `work` then runs
    again.
    """
    from lmtui.chat.repair import RepairedStore

    store = RepairedStore(
        paths.chats_file(), lambda found: note(f"note: {visible(found.words)}\n")
    )
    with closing(store):
        return store.use(work)


def load(which: str) -> StoredConversation:
    """Return the conversation with this id, or the one used last."""
    number = None if which == "last" else _number(which)

    def find(store: Store) -> StoredConversation | None:
        id_ = store.last() if number is None else number
        return None if id_ is None else store.load(id_)

    stored = read(find)
    if stored is None:
        raise LmtuiError(
            "there is no conversation yet", "", "Start one with `lmtui chat`."
        )
    return stored


def _number(which: str) -> int:
    try:
        return int(which)
    except ValueError:
        raise LmtuiError(
            "this is not a conversation number",
            which,
            "Give one from `lmtui history list`, or last.",
        ) from None


def export(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|last]",
            help="The conversation; not with --all.",
            autocompletion=completion.conversations,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]",
            help="A new file, whose extension gives the format; without it, stdout.",
        ),
    ] = None,
    *,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="md is the current branch as text, html the same for a browser, json "
            "everything; without this and OUT, md.",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Export every conversation as JSON, one a line."),
    ] = False,
) -> None:
    """Write a conversation as Markdown, JSON or a web page.

    \b
    Examples:
      lmtui history export last > talk.md
      lmtui history export 12 talk.html
      lmtui history export --all > everything.jsonl
    """
    if everything:
        target = out or (None if which is None else Path(which))
        _write(target, _all_lines())
        return
    if which is None:
        raise LmtuiError(
            "no conversation was named", "", "Give an ID, or last, or --all."
        )
    loaded = load(which)
    wanted = format or (format_of(out) if out else Format.MARKDOWN)
    _write(out, iter([written(wanted, loaded.conversation, loaded.about)]))


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE|-...", help="Files; - is stdin."),
    ],
    *,
    json: options.Json = False,
) -> None:
    """Import conversations that `lmtui history export` wrote as JSON.

    A file is imported as a whole or not at all.

    \b
    Examples:
      lmtui history import everything.jsonl
    """
    from lmtui.chat.records import from_json

    output = Output()
    for name in files:
        # A message may contain a NUL, which JSON escapes.
        text = read_document(name).text.removeprefix("\ufeff")
        imports = [from_json(line) for line in text.split("\n") if line]
        for id_, (conversation, meta) in zip(_added(imports), imports, strict=True):
            said = len(conversation.nodes) - 1
            if json:
                event = {"event": "imported", "id": id_, "title": meta.title,
                         "messages": said}  # fmt: skip
                output.event(event)
                continue
            title = visible_line(meta.title)
            output.text(f"{id_}  {title}  ({counted(said, 'message')})\n")


def _added(imports: list[tuple[Conversation, ConversationMeta]]) -> list[int]:
    return use(lambda store: [store.add(new_uid(), *each) for each in imports])


def _all_lines() -> Iterator[str]:
    ids = read(lambda store: [about.id for about in store.listed()]) or []
    for start in range(0, len(ids), _AT_ONCE):
        for loaded in _loaded(ids[::-1][start : start + _AT_ONCE]):
            yield written(Format.JSON, loaded.conversation, loaded.about)


def _loaded(ids: list[int]) -> list[StoredConversation]:
    return use(lambda store: [store.load(id_) for id_ in ids])


def _write(out: Path | None, parts: Iterator[str]) -> None:
    output = Output()
    if out is not None:
        write_new(out, parts)
        output.text(f"{out}\n")
        return
    for part in parts:
        output.text(part)


app = options.group(
    "List, search, show, export, import and delete conversations.",
    "lmtui history list",
    "lmtui history search lighthouse",
    "lmtui history export last > talk.md",
)


Limit = Annotated[
    int, typer.Option(min=0, metavar="N", help="Show at most this many; 0 shows all.")
]


@app.command("list")
def show_list(
    *,
    limit: Limit = 50,
    json: options.Json = False,
) -> None:
    """List the conversations, the pinned ones first, then the last used.

    \b
    Examples:
      lmtui history list
      lmtui history list --limit 0 --json
    """
    output = Output()

    def find(store: Store) -> tuple[list[ConversationSummary], int]:
        return store.listed(limit=limit or -1), store.count()

    listed, total = read(find) or ([], 0)
    if json:
        for about in listed:
            fields = {name: getattr(about, name) for name in _SHOWN}
            output.event({"event": "conversation", **fields})
    elif listed:
        output.text(_table(listed, terminal=output.is_terminal))
        if len(listed) < total:
            note(f"note: {len(listed):,} of {total:,}; --limit 0 lists all\n")
    else:
        output.text(EMPTY)


@app.command("search")
def search(
    words: Annotated[
        list[str],
        typer.Argument(metavar="WORDS...", help="Words, or '\"a phrase\"'."),
    ],
    *,
    limit: Limit = 50,
    json: options.Json = False,
    no_color: options.NoColor = False,
) -> None:
    """Find the messages that contain all of these words.

    The newest come first. The last word may be incomplete. Words in quotes must stand
    together.

    \b
    Examples:
      lmtui history search lighthouse
      lmtui history search capital fra
      lmtui history search '"capital of France"' --json
    """
    from lmtui.chat import search as searching

    output, text = Output(), " ".join(words)
    hits = read(lambda store: searching.search(store, text, limit=limit or -1)) or []
    if json:
        for hit in hits:
            fields = {"conversation": hit.conversation, "message": hit.message,
                      "title": hit.title, "role": hit.role, "text": hit.passage.text,
                      "places": hit.passage.places}  # fmt: skip
            output.event({"event": "hit", **fields})
    elif hits:
        _print_hits(hits, no_color=no_color)
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
    Output().text(written(wanted, loaded.conversation, loaded.about))


app.command("export")(export)
app.command("import")(import_files)


@app.command("delete")
def delete(
    which: Annotated[
        list[str],
        typer.Argument(
            metavar="ID|last...",
            help="Numbers from `lmtui history list`, or last.",
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
    # All are loaded first: an unknown id fails before anything is deleted.
    chosen = [load(chosen_id).about for chosen_id in which]
    rows = {about.id: f"{about.id}  {visible_line(about.title)}" for about in chosen}
    if not yes:
        counts = ((rows[each.id], each.messages) for each in chosen)
        confirm_removal("".join(f"{row}  {n:,} messages\n" for row, n in counts))
    for id_, row in rows.items():
        use(methodcaller("remove", id_))
        Output().text(f"deleted {row}\n")


def _table(summaries: list[ConversationSummary], *, terminal: bool) -> str:
    """Return the table of conversations; narrow terminals get no column MODEL."""
    headings: tuple[str, ...] = ("ID", "USED", "MESSAGES", "MODEL", "", "TITLE")
    rows: list[tuple[str, ...]] = [_row(listed) for listed in summaries]
    if terminal and get_terminal_size().columns < _WITH_MODEL:
        headings = headings[:3] + headings[4:]
        rows = [row[:3] + row[4:] for row in rows]
    return table(headings, rows, right=(0, 2), terminal=terminal)


def _row(about: ConversationSummary) -> tuple[str, ...]:
    used = datetime.fromtimestamp(about.updated).strftime("%Y-%m-%d %H:%M")
    model = (about.model or "").rpartition("/")[2]
    messages = f"{about.messages:,}"
    pinned = "pinned" if about.pinned else ""
    return (str(about.id), used, messages, model, pinned, about.title)


def _print_hits(hits: list[Hit], *, no_color: bool) -> None:
    from rich.text import Text

    from lmtui.cli.console import terminal_console

    console = terminal_console(no_color=no_color)
    for hit in hits:
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
    return visible_line(text.replace("\n", " "))

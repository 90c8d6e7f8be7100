"""`lmtui history export` and `import`: conversations to and from files.

Owns which file is which format, and that nothing is overwritten. The formats themselves
are `lmtui.chat`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.chat.exporting import Format, format_of, write_new, written
from lmtui.cli import completion, options
from lmtui.cli.edge import note
from lmtui.cli.output import Output
from lmtui.cli.reading import read_document
from lmtui.cli.stored import load, read, use
from lmtui.errors import LmtuiError
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.chat.interchange import Imported
    from lmtui.chat.listed import Loaded
    from lmtui.chat.store import Store

_AT_ONCE = 50  # conversations that are read before they are written


def export(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|last]",
            help="The conversation; not with --all.",
            show_default=False,
            autocompletion=completion.conversations,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="[OUT]",
            help="A new file, whose extension gives the format; without it, stdout.",
            show_default=False,
        ),
    ] = None,
    *,
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="md is the current branch as text, html the same for a browser, json "
            "everything; without this and OUT, md.",
            show_default=False,
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
        place = out or (None if which is None else Path(which))
        _write(place, _all_lines())
        return
    if which is None:
        raise LmtuiError(
            "no conversation is named", "", "Give an ID, or last, or --all."
        )
    loaded = load(which)
    wanted = format or (format_of(out) if out else Format.MARKDOWN)
    _write(out, iter([written(wanted, loaded.conversation, loaded.about.facts)]))


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|-...", help="Files; - is stdin.", show_default=False
        ),
    ],
    *,
    json: options.Json = False,
) -> None:
    """Import conversations: JSON that lmtui exported, or Markdown.

    Markdown needs a line “## You”, “## Assistant” or “## System” before each message.
    A file is imported as a whole or not at all.

    \b
    Examples:
      lmtui history import everything.jsonl
      lmtui history import talk.md notes.md
    """
    output = Output()
    for name in files:
        found = read_conversations(name)
        for each, (id_, same_as) in zip(found, _added(found), strict=True):
            said = len(each.conversation.nodes) - 1
            if json:
                event = {"event": "imported", "id": id_, "title": each.facts.title,
                         "messages": said, "same_as": same_as}  # fmt: skip
                output.event(event)
                continue
            words = f"{said:,} message{'' if said == 1 else 's'}"
            output.text(f"{id_}  {visible_line(each.facts.title)}  ({words})\n")
            if same_as is not None:
                note(
                    f"note: {id_} looks the same as {same_as}, which is kept already\n"
                )


def _added(found: list[Imported]) -> list[tuple[int, int | None]]:
    """The id of each conversation that was taken in, and of one that looks the same."""
    ids = list[int]()

    def add(store: Store) -> list[tuple[int, int | None]]:
        # Where the store was found to be damaged, the first of them are in it already.
        for each in found[len(ids) :]:
            uid = secrets.token_hex(8)
            ids.append(store.add(uid, each.conversation, each.facts))
        return [(id_, store.like(id_)) for id_ in ids]

    return use(add)


def read_conversations(name: str) -> list[Imported]:
    """The conversations in a file, JSON or Markdown by its content.

    Raises:
        LmtuiError: there are none, or one of them can't be used.
    """
    from lmtui.chat.interchange import Imported, from_json
    from lmtui.chat.listed import Facts
    from lmtui.chat.markdown import from_markdown
    from lmtui.chat.titles import title_of

    # A message may hold a NUL, which JSON has as an escape and Markdown as it is.
    text = read_document(name, nul=True).text
    if text.lstrip("\ufeff \n").startswith("{"):
        lines = [line for line in text.removeprefix("\ufeff").split("\n") if line]
        return [from_json(line) for line in lines]
    title, conversation = from_markdown(text)
    asked = [node.content for node in conversation.nodes if node.role == "user"]
    made = title_of(asked[0]) if asked else "Imported"
    facts = Facts(title or made, named=bool(title))
    return [Imported(conversation, facts)]


def _all_lines() -> Iterator[str]:
    ids = read(lambda store: [about.id for about in store.listed(archived=True)]) or []
    for start in range(0, len(ids), _AT_ONCE):
        for loaded in _loaded(ids[::-1][start : start + _AT_ONCE]):
            yield written(Format.JSON, loaded.conversation, loaded.about.facts)


def _loaded(ids: list[int]) -> list[Loaded]:
    return use(lambda store: [store.load(id_) for id_ in ids], readonly=True)


def _write(out: Path | None, parts: Iterator[str]) -> None:
    output = Output()
    if out is not None:
        write_new(out, parts)
        output.text(f"{out}\n")
        return
    for part in parts:
        output.text(part)

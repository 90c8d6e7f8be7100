"""What the verbs that score texts have in common: their arguments, texts and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lmtui.cli import completion, options
from lmtui.cli.engine import engines_for
from lmtui.cli.errors import note
from lmtui.cli.inspect.chat_message import stored_message
from lmtui.cli.inspect.rows import Form
from lmtui.cli.ngram import HIGHEST_ORDER, CountedTexts, counted_texts, ngram_name
from lmtui.cli.output import STDIN, read_document, stdin_is_terminal
from lmtui.config.settings import Settings, bits
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.models.source import ModelRef
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.engine.ngram_model import NgramModel

Other = ModelRef | CountedTexts | None
"""What a model is compared with: another one, or one that counts."""

File = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE",
        help="A text file; - is stdin, which is also read in a pipe without FILE.",
    ),
]
Chat = Annotated[
    str | None,
    typer.Option(
        metavar="ID|last",
        help="A message of this conversation, instead of a file.",
        autocompletion=completion.conversations,
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "--message",
        min=1,
        metavar="N",
        help="Number of the message on the current branch; unset is the last one.",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens read together; unset is 2048, or the context if smaller.",
    ),
]
Stride = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens between the starts of two windows; unset is half a window.",
    ),
]
Bos = Annotated[
    BosRule,
    typer.Option(help="Begin with the BOS token; auto follows the tokenizer."),
]
Tsv = Annotated[bool, typer.Option("--tsv", help="Write tab-separated values.")]
Html = Annotated[
    str | None,
    typer.Option(
        metavar="OUT",
        help="Write a self-contained web page into this file.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Compare with another model on the same text; ngram:1 to "
        f"ngram:{HIGHEST_ORDER} count the tokens of --ngram-text, and for ngram:0 all "
        "tokens are equally probable.",
        autocompletion=completion.models,
    ),
]
AgainstAdapter = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Compare with the same model and this adapter on it.",
        autocompletion=completion.adapters,
    ),
]
NgramText = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="A text for --against ngram:N to count; may be repeated.",
    ),
]


def require_one(**flags: object) -> None:
    """Refuse flags of which more than one is given, by their names."""
    given = [name for name, value in flags.items() if value]
    if len(given) > 1:
        names = [f"--{name.replace('_', '-')}" for name in given]
        raise LmtuiError(
            f"{names[0]} and {names[1]} exclude each other", "", "Give one of them."
        )


def form_of(*, json: bool, tsv: bool, html: str | None = None) -> Form:
    """Return the form of the output; only one may be asked for."""
    require_one(json=json, tsv=tsv, html=html)
    return "json" if json else "tsv" if tsv else "table"


def exact_settings(context: typer.Context) -> Settings:
    """Return the settings, which are exact where nothing else was asked for."""
    settings = options.settings(context)
    return replace(settings, quantize=bits(settings, exact=True))


def one_text(file: str | None, chat: str | None, message: int | None) -> TextSource:
    """Return the text of a file, of stdin, or of a message."""
    if chat is not None:
        if file is not None:
            hint = "A message is read in its conversation; give one of them."
            raise LmtuiError("--chat and FILE exclude each other", "", hint)
        return stored_message(chat, message)
    if message is not None:
        raise LmtuiError("--message needs a conversation", "", "Add --chat ID.")
    (document,) = read_texts([] if file is None else [file])
    return document


def read_texts(names: Sequence[str]) -> list[TextSource]:
    """Return the texts of files; of stdin, if none is named in a pipe.

    Raises:
        LmtuiError: one can't be read, or there is none.
    """
    if not names and stdin_is_terminal():
        hint = (
            "Name a text file, or pipe a text: `git log -1 | lmtui inspect`. See "
            "`lmtui inspect --help`."
        )
        raise LmtuiError("Missing argument 'FILE'", "", hint)
    if names.count(STDIN) > 1:
        hint = "Give - once, or save the text in a file."
        raise LmtuiError("stdin can be read only once", "", hint)
    return [read_document(name) for name in names or [STDIN]]


def _shown(document: TextSource) -> str:
    return "stdin" if document.name == STDIN else visible_line(document.name)


def other_model(
    settings: Settings,
    model: str | None,
    adapter: str | None,
    ngram_texts: Sequence[str] | None = None,
) -> Other:
    """Return what to compare with, if anything."""
    require_one(against=model, against_adapter=adapter)
    if counted := counted_texts(model, ngram_texts or []):
        return counted
    if adapter:
        return ModelRef(settings.model, adapter)
    return ModelRef(model) if model else None


def refuse_counted(other: Other) -> None:
    if isinstance(other, CountedTexts):
        hint = "Name another model, or leave it out."
        title = "counting gives tokens alone"
        raise LmtuiError(title, ngram_name(other.order), hint)


def open_models(
    context: typer.Context,
    settings: Settings,
    documents: Sequence[TextSource],
    other: Other = None,
) -> tuple[Sequence[Engine], NgramModel | None]:
    """Return the model, with the one to compare with, and what is counted in its place.
    What there is to say of them and the texts is noted."""
    for document in documents:
        if not document.text:
            note(f"note: {_shown(document)} is empty; nothing is scored\n")
    second = other if isinstance(other, ModelRef) else None
    engines = engines_for(context, settings, second)
    for engine in engines:
        if engine.capabilities.why_not:
            note(f"note: {engine.capabilities.why_not}\n")
    if not isinstance(other, CountedTexts):
        return engines, None
    for document in filter(other.have, documents):
        note(
            f"note: {ngram_name(other.order)} has counted {_shown(document)} itself "
            "and knows it by heart; a text that it has not counted is a fair test\n"
        )
    return engines, other.count(engines[0])

"""Names that shell completion offers for each argument.

Typer installs the shells' scripts, and completes commands and flags. Never imports
torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress

from lmtui.errors import LmtuiError

# The shells' scripts pass the output to eval.
_SAFE = re.compile(r"[\w./+@-]+")
_UNSAFE_IN_HELP = re.compile(r"[^\w .,-]+")

_CONVERSATIONS = 50
_HELP = 60  # characters

Completions = list[tuple[str, str]]
"""Names, each with a short description."""


def _from(names: Callable[[], Iterable[tuple[str, str]]]) -> Callable[[str], object]:
    """Return a Typer callback that offers those of `names` that begin with the word."""

    def complete(incomplete: str) -> Completions:
        try:
            return [
                (name, _UNSAFE_IN_HELP.sub(" ", about).strip()[:_HELP])
                for name, about in names()
                if name.startswith(incomplete) and _SAFE.fullmatch(name)
            ]
        except (LmtuiError, OSError):  # a message would garble the command line
            return []

    return complete


def _models() -> Iterator[tuple[str, str]]:
    from lmtui.config import load
    from lmtui.models import catalogue, inventory

    for entry in catalogue.CATALOGUE:
        yield entry.name, entry.note
    for item in inventory.others(inventory.inventory()):
        yield item.name, "on this machine"
    with suppress(LmtuiError):  # settings that can't be read name no server
        for server in load.load().servers.values():
            yield server.name, "a server"


def _adapters() -> Iterator[tuple[str, str]]:
    from lmtui.models.adapters import folders

    for adapter in folders.listed():
        yield adapter.name, adapter.problem or adapter.base


def _themes() -> Iterator[tuple[str, str]]:
    from lmtui import paths
    from lmtui.tui.themes import load_themes

    for theme in load_themes(paths.themes_folder()).themes:
        yield theme.name, "dark" if theme.dark else "light"


def _presets() -> Iterator[tuple[str, str]]:
    from lmtui.config import load

    for name, preset in load.load().presets.items():
        yield name, preset.system or ""


def _conversations() -> Iterator[tuple[str, str]]:
    from lmtui import paths
    from lmtui.chat.store import Store

    if not paths.chats_file().exists():
        return
    with closing(Store(paths.chats_file())) as store:
        summaries = store.listed(limit=_CONVERSATIONS)
    if summaries:
        yield "last", "the conversation used last"
    for listed in summaries:
        yield str(listed.id), listed.title


models = _from(_models)
adapters = _from(_adapters)
themes = _from(_themes)
presets = _from(_presets)
conversations = _from(_conversations)


def values(choices: tuple[str, ...]) -> Callable[[str], object] | None:
    """Return a callback that offers these words; None without any."""
    return _from(lambda: ((choice, "") for choice in choices)) if choices else None

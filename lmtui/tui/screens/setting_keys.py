"""What is done by keys, as a row among the settings.

Owns what is said of it, and that keys which something else has are refused while they
are written, with what has them. Knows neither the list nor where keys are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from textual.content import Content

from lmtui.config_sheet import Sheet
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.keys import Bound, key_display, user_keys
from lmtui.tui.screens.setting import Question

KEYS = "Keys"
_ID = 25  # cells of the first column


@dataclass(frozen=True, slots=True)
class KeyRow:
    """Something that is done by keys, in the list."""

    item: Bound


def keys_of(item: Bound, sheet: Sheet) -> tuple[str, ...]:
    """The keys that do it, the user's own where those can be used."""
    wanted = sheet.kept.keys
    own = user_keys(wanted).keymap.get(item.id) if item.id in wanted else None
    return tuple(own.split(",")) if own else item.keys


def line_of_keys(item: Bound, sheet: Sheet) -> Content:
    """A row of the list."""
    keys, kept = keys_of(item, sheet), item.id in sheet.kept.keys
    return Content.assemble(
        f"  {item.id:<{_ID}} ",
        (f"{_shown(keys):<14}", "$foreground" if keys == item.keys else "bold $accent"),
        (" config.toml" if kept else "", "$quiet"),
    )


def about_keys(item: Bound, sheet: Sheet) -> Content:
    """What is said of it beside the list."""
    kept = sheet.kept.keys.get(item.id)
    lines = [
        Content.assemble((item.id, "bold"), f"\n{item.name}: {item.what}\n"),
        Content(f"Default: {_shown(item.keys)}"),
        Content(f"In config.toml: {'nothing' if kept is None else visible_line(kept)}"),
    ]
    if kept is not None and (wrong := _wrong(item, sheet.kept.keys)):
        words = f"That can't be used: {wrong}."
        lines.append(Content.assemble((visible_line(words), "$warning")))
    lines.append(Content.assemble(("A change counts at once.", "$quiet")))
    return Content("\n").join(lines)


def about_changing(item: Bound, wanted: Mapping[str, str]) -> Question:
    """Its keys, asked for, beside those that are wanted for other things."""
    default = ",".join(item.keys)
    return Question(
        item.id,
        f"{item.name}: {item.what}",
        wanted.get(item.id, default),
        partial(read_keys, item, wanted),
        empty=f"empty: {default}",
        told="Several keys are parted by commas.",
    )


def read_keys(item: Bound, wanted: Mapping[str, str], text: str) -> str | None:
    """Keys as they were typed, beside those that are wanted for other things; None
    where nothing was.

    Raises:
        LmtuiError: they can't be used.
    """
    if not text.strip():
        return None
    others = {id: keys for id, keys in wanted.items() if id != item.id}
    if wrong := _wrong(item, {**others, item.id: text.strip()}):
        raise LmtuiError("this can't be its key", "", f"{wrong}.")
    return text.strip()


def _wrong(item: Bound, wanted: Mapping[str, str]) -> str:
    """Why what is wanted for something can't be used; nothing where it can."""
    head = f"{item.id}: "
    notices = user_keys(wanted).notices
    return "".join(n.removeprefix(head) for n in notices if n.startswith(head))


def _shown(keys: tuple[str, ...]) -> str:
    return ", ".join(map(key_display, keys))

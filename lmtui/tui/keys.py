"""All key bindings of the screens as values, and checks of the user's own keys.

A user's key that can't be used becomes a notice, never an exception. Knows no screen by
name and no settings file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache

from textual.app import App
from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character
from textual.screen import Screen
from textual.widgets import Input, TextArea

import lmtui.tui
from lmtui.text import visible_line

_PREFIX = f"{lmtui.tui.__name__}."
_SHARED = ("engine", "widgets")
"""Folders that belong to no one screen."""
_MODIFIERS = ("alt", "ctrl", "hyper", "meta", "shift", "super")
_NAMES = sorted(
    {key.value.rpartition("+")[2] for key in Keys} | set(KEY_NAME_REPLACEMENTS.values())
)
_ARRIVES_AS = {"ctrl+space": "ctrl+@", "ctrl+i": "tab", "ctrl+m": "enter"}
_SHOWN = {"escape": "Esc", "pageup": "PgUp", "pagedown": "PgDn",
          "delete": "Del", "plus": "+", "minus": "-",
          "up": "↑", "down": "↓", "left": "←", "right": "→"}  # fmt: skip
_LISTENERS: tuple[type[DOMNode] | tuple[type[DOMNode], ...], ...] = (
    App,
    Screen,
    (TextArea, Input),
)
"""Kinds of nodes that listen at the same time: a key that one takes, no other gets."""


@dataclass(frozen=True, slots=True)
class Bound:
    id: str
    keys: tuple[str, ...]
    """Names of the keys in Textual."""
    action: str
    """Without the prefix for one of the app."""
    name: str
    what: str
    """Description in one sentence."""
    owner: type[DOMNode]
    """Screen or widget class that declares the binding."""
    priority: bool = False
    passed_on: bool = False
    """Whether the key goes on to the next listener if there is nothing to do."""


@dataclass(frozen=True, slots=True)
class UserKeys:
    """Usable ones of the user's keys, and notices about the others."""

    keymap: Mapping[str, str]
    """Argument for `App.set_keymap`."""
    notices: tuple[str, ...]
    """A line for each key that can't be used, with the reason."""


@cache
def all_bound() -> tuple[Bound, ...]:
    return tuple(item for owner in _owners() for item in bound_by(owner))


@cache
def bound_by(owner: type[DOMNode]) -> tuple[Bound, ...]:
    """Return the actions that a class itself binds; none for classes of others."""
    if not owner.__module__.startswith(_PREFIX):
        return ()
    return tuple(_bound(binding, owner) for binding in _own_bindings(owner))


def bound_to(owner: type[DOMNode]) -> list[Bound]:
    """Return the actions that a class and its bases bind, its own first."""
    bases = (base for base in owner.__mro__ if issubclass(base, DOMNode))
    return [item for base in bases for item in bound_by(base)]


def user_keys(
    keymap: Mapping[str, str], *, bound: Iterable[Bound] | None = None
) -> UserKeys:
    """Check the wanted keys, given by binding id. Of two that clash, the first is used.

    A key is usable if it exists, its id is known, and no other action that is active at
    the same time has it.
    """
    if not keymap:
        return UserKeys({}, ())
    known = {item.id: item for item in (all_bound() if bound is None else bound)}
    usable: dict[str, tuple[str, ...]] = {}
    notices: list[str] = []
    for id, text in keymap.items():
        try:
            usable[id] = _keys_of(id, text, known)
        except _Unusable as unusable:
            notices.append(f"{visible_line(id)}: {unusable}")
    while clash := _clash(usable, known):
        id, reason = clash
        del usable[id]
        notices.append(f"{id}: {reason}")
    return UserKeys({id: ",".join(keys) for id, keys in usable.items()}, tuple(notices))


def shown_actions(screen: Screen[object]) -> Iterator[tuple[Binding, str]]:
    """Yield the screen's own enabled actions, each once, with its keys as text."""
    by_action: dict[str, tuple[Binding, list[str]]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.node is screen and binding.description and active.enabled:
            _, keys = by_action.setdefault(binding.action, (binding, []))
            keys.append(screen.app.get_key_display(binding))
    for binding, keys in by_action.values():
        yield binding, ", ".join(keys)


def key_display(key: str) -> str:
    """Return a key as the user reads it: `Ctrl+R`, `Esc`, `[`."""
    if key == "ctrl+@":
        return "Ctrl+Space"
    *modifiers, name = key.split("+")
    character = key_to_character(name)
    if character is None or not character.isprintable() or character == " ":
        label = _SHOWN.get(name, name.capitalize())
    else:
        label = character.upper() if modifiers else character
    return "+".join((*(modifier.capitalize() for modifier in modifiers), label))


class _Unusable(ValueError):
    """Reason why a wanted key can't be used, in one clause."""


def _owners() -> Iterator[type[DOMNode]]:
    for module in pkgutil.walk_packages(lmtui.tui.__path__, _PREFIX):
        for value in vars(importlib.import_module(module.name)).values():
            if (
                inspect.isclass(value)
                and issubclass(value, DOMNode)
                and value.__module__ == module.name
                and "BINDINGS" in vars(value)
            ):
                yield value


def _own_bindings(owner: type[DOMNode]) -> Iterator[Binding]:
    for binding in vars(owner).get("BINDINGS", ()):
        yield binding if isinstance(binding, Binding) else Binding(*binding)


def _bound(binding: Binding, owner: type[DOMNode]) -> Bound:
    return Bound(
        id=binding.id or "",
        keys=_normal(binding.key),
        action=binding.action.removeprefix("app."),
        name=binding.description,
        what=binding.tooltip,
        owner=owner,
        priority=binding.priority,
        passed_on=binding.id in getattr(owner, "PASSED_ON", ()),
    )


def _normal(keys: str) -> tuple[str, ...]:
    """Return a list of keys by Textual's names: `?` is `question_mark`."""
    return tuple(BindingsMap([Binding(keys, "")]).key_to_bindings)


def _keys_of(id: str, text: str, known: Mapping[str, Bound]) -> tuple[str, ...]:
    if id not in known:
        raise _Unusable(f"there is no such action{_did_you_mean(id, known)}")
    written = [_key(part.strip()) for part in text.split(",")]
    keys = _normal(",".join(written))
    if _takes_text(known[id]):
        for key in keys:
            character = key_to_character(key)
            if character and character.isprintable():
                raise _Unusable(f"{key} is needed for typing text")
    return keys


def _key(written: str) -> str:
    *modifiers, name = written.split("+")
    modifiers = sorted(modifier.strip().lower() for modifier in modifiers)
    name = name.strip()
    name = name if len(name) == 1 and not modifiers else name.lower()
    key = "+".join((*modifiers, name))
    if not set(modifiers) <= set(_MODIFIERS) or not _is_key(name):
        shown = visible_line(written)
        raise _Unusable(f"“{shown}” is no key{_did_you_mean(key, _NAMES)}")
    if modifiers == ["shift"] and len(name) == 1:
        return name.upper()
    return _ARRIVES_AS.get(key, key)


def _is_key(name: str) -> bool:
    character = key_to_character(name) if name else None
    return name in _NAMES or bool(character and character.isprintable())


def _did_you_mean(written: str, known: Iterable[str]) -> str:
    close = get_close_matches(written, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _takes_text(item: Bound) -> bool:
    """Return whether the binding competes with typing.

    With priority a bound character could not be typed any more; in a text field it is
    typed, and the binding never gets it.
    """
    return item.priority or issubclass(item.owner, TextArea | Input)


@cache
def _textual() -> tuple[Bound, ...]:
    """Return the actions of Textual that listen on every screen, or where one
    writes."""
    return tuple(
        replace(_bound(binding, owner), id="Textual")
        for owner in (App, Screen, TextArea, Input)
        for binding in _own_bindings(owner)
        if binding.description
    )


def _clash(
    usable: dict[str, tuple[str, ...]], known: Mapping[str, Bound]
) -> tuple[str, str] | None:
    """Return the last wanted id with a key that is taken, and why; else None. A key
    that an action has by itself stays free for it."""
    for id in reversed(usable):
        item, others = known[id], (*known.values(), *_textual())
        for other in others:
            if other.id == id or item.passed_on or other.passed_on:
                continue
            if _listen_together(item.owner, other.owner):
                keys = usable.get(other.id, other.keys)
                for key in (set(usable[id]) - set(item.keys)) & set(keys):
                    return id, f"{key} is taken by {other.id} ({other.name})"
    return None


def _listen_together(first: type[DOMNode], second: type[DOMNode]) -> bool:
    """Return whether two owners listen at the same time.

    A class and its bases do. So do a screen, the app, and a text field, which has the
    focus most of the time; but what belongs to one screen's folder never meets what
    belongs to another's. Other widgets only compete with their own bases.
    """
    if issubclass(first, second) or issubclass(second, first):
        return True
    if len({_folder(first), _folder(second)} - {""}) == 2:
        return False
    of_first, of_second = (
        [kind for kind in _LISTENERS if issubclass(owner, kind)]
        for owner in (first, second)
    )
    return bool(of_first and of_second) and of_first != of_second


def _folder(owner: type[DOMNode]) -> str:
    """Return the folder of the screen that an owner belongs to, or the module of a
    screen without one; "" for an owner that several screens have, or Textual's."""
    if not owner.__module__.startswith(_PREFIX):
        return ""
    folder = owner.__module__.removeprefix(_PREFIX).rpartition(".")[0]
    if not folder and issubclass(owner, Screen) and not owner.__subclasses__():
        return owner.__module__
    return "" if folder in _SHARED else folder

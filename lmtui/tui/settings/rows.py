"""The rows of the settings screen: settings, keys and presets, each with its line, its
preview and how it is changed.

Knows no widget and does not write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from textual.content import Content

from lmtui.config.load import KEYS
from lmtui.config.settings import (
    PRESETS,
    SYSTEM,
    Preset,
    SettingItem,
    Settings,
    items,
)
from lmtui.config.settings_file import SettingsSnapshot
from lmtui.config.toml_file import TomlPath
from lmtui.config.values import written
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue, value_text
from lmtui.text import visible_line
from lmtui.tui.keys import Bound, UserKeys, all_bound, key_display, user_keys
from lmtui.tui.widgets.plain_text import plain_line, plain_text

EVERYWHERE = "Everywhere"
SWITCH = ("true", "false")
"""The choices of a setting that is switched."""
_HEADINGS = {KEYS: "Keys", PRESETS: "Presets", "": EVERYWHERE}
_NAME, _VALUE = 25, 14  # cells of the columns
_SYSTEM = 400  # characters of a system prompt that the preview shows


@dataclass(frozen=True, slots=True)
class Row:
    path: TomlPath
    """Its place in the settings file."""
    line: Content
    about: Content
    words: str
    """The text that a search looks in."""
    is_saved: bool
    """Whether the file has it."""
    value: str = ""
    """What an edit begins with."""
    empty: str = ""
    """What an empty field means, or what can be written."""
    choices: tuple[str, ...] = ()
    """All values, where one is chosen instead of typed."""
    read: Callable[[str], SettingValue] | None = None
    """Parse a typed or chosen value, None to unset it; raises LmtuiError. None for what
    can't be changed here."""

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def heading(self) -> str:
        table = self.path[0] if len(self.path) > 1 else ""
        return _HEADINGS.get(table, table)


def rows_of(
    snapshot: SettingsSnapshot, choices: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    """Yield all rows in order. `choices` has the values of settings for which they are
    only known at run time."""
    for setting in items():
        own = tuple(choices.get(setting.name, ())) or setting.declaration.choices
        yield _setting(setting, snapshot, own)
    keys = user_keys(snapshot.saved.keys)
    for action in all_bound():
        yield _action(action, snapshot.saved.keys, keys)
    for preset in snapshot.saved.presets.values():
        yield _preset(preset)


def counted(rows: Iterable[Row]) -> str:
    """Return how many rows of each kind there are: `41 settings, 172 keys, 2
    presets`."""
    kinds = {_HEADINGS[KEYS]: "key", _HEADINGS[PRESETS]: "preset"}
    counts = Counter(kinds.get(row.heading, "setting") for row in rows)
    parts = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items()]
    return ", ".join(parts) or "0 settings"


def _line(name: str, value: str, source: str, *, changed: bool) -> Content:
    return plain_line(
        f"  {name:<{_NAME}} ",
        (f"{value:<{_VALUE}}", "bold $accent" if changed else "$foreground"),
        (f" {source}", "$quiet"),
    )


def _about(
    key: str, meaning: str, facts: Mapping[str, str], *, wrong: str, note: str
) -> Content:
    """Return a preview; `wrong` takes the place of the note."""
    end = (wrong, "$warning") if wrong else (note, "$quiet")
    lines = "".join(f"{label}{fact}\n" for label, fact in facts.items())
    return plain_text((key, "bold"), f"\n{meaning}\n\n{lines}", end)


def _shown(value: SettingValue) -> str:
    return visible_line(value_text(value))


def _setting(
    item: SettingItem, snapshot: SettingsSnapshot, choices: tuple[str, ...]
) -> Row:
    name, meaning = item.name, item.declaration.meaning
    value, saved = snapshot.counting.value(name), snapshot.saved.value(name)
    default, origin = Settings().value(name), snapshot.counting.origin(name)
    is_saved = snapshot.saved.origin(name).source == "file"
    source = {"default": "", "file": "config.toml"}.get(origin.source, origin.where)
    limits = f"One of: {', '.join(choices)}." if choices else item.declaration.hint
    if item.kind is bool:
        choices, limits = SWITCH, "Enter switches it."
    facts = {"": limits} if limits else {}
    facts["Default: "] = _shown(default)
    facts["In config.toml: "] = _shown(saved) if is_saved else "nothing"
    stronger = snapshot.stronger(name)
    over = "is given and overrides the file until the program ends."
    wrong = f"{stronger.where} {over}" if stronger else ""
    when = "at once" if item.declaration.at_once else "from the next start on"
    note = f"A change counts {when}."
    return Row(
        tuple(item.key.split(".")),
        _line(item.own_name, _shown(value), source, changed=value != default),
        _about(item.key, meaning, facts, wrong=wrong, note=note),
        f"{item.key} {meaning}",
        is_saved,
        value="" if saved is None else value_text(saved),
        empty="empty: unset" if item.field.default is None else limits or "some text",
        choices=choices,
        read=partial(written, name),
    )


def _action(item: Bound, wanted: Mapping[str, str], own: UserKeys) -> Row:
    saved, default = wanted.get(item.id), ",".join(item.keys)
    used = own.keymap.get(item.id, default)
    shown, source = _displayed(used), "" if saved is None else "config.toml"
    why = "" if saved is None else _wrong(item, own)
    wrong, note = why and f"That can't be used: {why}.", "A change counts at once."
    meaning = f"{item.name}: {item.what}"
    facts = {
        "Default: ": _displayed(default),
        "In config.toml: ": "nothing" if saved is None else saved,
    }
    return Row(
        (KEYS, item.id),
        _line(item.id, shown, source, changed=used != default),
        _about(item.id, meaning, facts, wrong=wrong, note=note),
        f"{_HEADINGS[KEYS]} {item.id} {meaning} {shown}",
        saved is not None,
        value=default if saved is None else saved,
        empty=f"empty: {default}; commas between several",
        read=partial(_read_keys, item, wanted),
    )


def _read_keys(item: Bound, keymap: Mapping[str, str], text: str) -> str | None:
    """Parse the keys typed for an action, beside the user's keys of all others; None
    for an empty text."""
    if not text.strip():
        return None
    others = {id: keys for id, keys in keymap.items() if id != item.id}
    if wrong := _wrong(item, user_keys({**others, item.id: text.strip()})):
        raise LmtuiError(wrong)
    return text.strip()


def _wrong(item: Bound, keys: UserKeys) -> str:
    """Return why the user's keys of an action can't be used; "" where they can."""
    head = f"{item.id}: "
    notices = keys.notices
    return "".join(n.removeprefix(head) for n in notices if n.startswith(head))


def _displayed(keys: str) -> str:
    return ", ".join(map(key_display, keys.split(",")))


def _preset(preset: Preset) -> Row:
    system = preset.system or ""
    values = [(name, _shown(value)) for name, value in preset.sampling.items()]
    parts = [system] * bool(system) + [f"{name} {value}" for name, value in values]
    lines = [f"{name} = {value}" for name, value in values]
    if preset.system is not None:
        cut = "…" if len(system) > _SYSTEM else ""
        lines.insert(0, f"{SYSTEM}: {system[:_SYSTEM]}{cut}")
    return Row(
        (PRESETS, preset.name),
        plain_line(f"  {preset.name:<{_NAME}} ", (" · ".join(parts), "$quiet")),
        plain_text((preset.name, "bold"), "\n" + "\n".join(lines)),
        f"{_HEADINGS[PRESETS]} {preset.name} {system}",
        is_saved=True,
    )

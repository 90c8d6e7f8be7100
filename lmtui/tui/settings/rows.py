"""Texts of the settings screen: list rows and previews of settings, presets and keys.

Knows neither the list widget nor how a value is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from textual.content import Content

from lmtui.config.settings import SYSTEM, Preset, SettingItem, Settings, items
from lmtui.config.settings import item as setting_item
from lmtui.config.settings_file import SettingsSnapshot
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue, value_text
from lmtui.text import visible, visible_line
from lmtui.tui.keys import Bound, all_bound, key_display, user_keys
from lmtui.tui.settings.edit import SettingQuestion

KEYS = "Keys"
_ID = 25  # cells of the first column

EVERYWHERE = "Everywhere"
PRESETS = "Presets"
_NAME, _VALUE = 22, 14  # cells of the columns
_SYSTEM = 400  # characters of a system prompt that the preview shows


@dataclass(frozen=True, slots=True)
class KeyRow:
    item: Bound


def keys_of(item: Bound, snapshot: SettingsSnapshot) -> tuple[str, ...]:
    """Return the keys of an action: the user's own where they are valid."""
    wanted = snapshot.saved.keys
    own = user_keys(wanted).keymap.get(item.id) if item.id in wanted else None
    return tuple(own.split(",")) if own else item.keys


def line_of_keys(item: Bound, snapshot: SettingsSnapshot) -> Content:
    keys, is_saved = keys_of(item, snapshot), item.id in snapshot.saved.keys
    return Content.assemble(
        f"  {item.id:<{_ID}} ",
        (f"{_shown(keys):<14}", "$foreground" if keys == item.keys else "bold $accent"),
        (" config.toml" if is_saved else "", "$quiet"),
    )


def about_keys(item: Bound, snapshot: SettingsSnapshot) -> Content:
    saved = snapshot.saved.keys.get(item.id)
    lines = [
        Content.assemble((item.id, "bold"), f"\n{item.name}: {item.what}\n"),
        Content(f"Default: {_shown(item.keys)}"),
        Content(
            f"In config.toml: {'nothing' if saved is None else visible_line(saved)}"
        ),
    ]
    if saved is not None and (wrong := _wrong(item, snapshot.saved.keys)):
        warning = f"That can't be used: {wrong}."
        lines.append(Content.assemble((visible_line(warning), "$warning")))
    lines.append(Content.assemble(("A change counts at once.", "$quiet")))
    return Content("\n").join(lines)


def about_changing(item: Bound, keymap: Mapping[str, str]) -> SettingQuestion:
    """Return the question for the keys of an action; `keymap` are the user's keys of
    all actions."""
    default = ",".join(item.keys)
    return SettingQuestion(
        item.id,
        f"{item.name}: {item.what}",
        keymap.get(item.id, default),
        partial(read_keys, item, keymap),
        empty=f"empty: {default}",
        limits_text="Separate several keys with commas.",
    )


def read_keys(item: Bound, keymap: Mapping[str, str], text: str) -> str | None:
    """Parse the keys typed for an action, beside the user's keys of all others; None
    for an empty text."""
    if not text.strip():
        return None
    others = {id: keys for id, keys in keymap.items() if id != item.id}
    if wrong := _wrong(item, {**others, item.id: text.strip()}):
        raise LmtuiError("this key can't be used", "", f"{wrong}.")
    return text.strip()


def _wrong(item: Bound, keymap: Mapping[str, str]) -> str:
    """Return why the user's keys of an action can't be used; "" where they can."""
    head = f"{item.id}: "
    notices = user_keys(keymap).notices
    return "".join(n.removeprefix(head) for n in notices if n.startswith(head))


def _shown(keys: tuple[str, ...]) -> str:
    return ", ".join(map(key_display, keys))


@dataclass(frozen=True, slots=True)
class SettingRow:
    name: str


@dataclass(frozen=True, slots=True)
class PresetRow:
    preset: Preset


SettingsRow = SettingRow | PresetRow | KeyRow


def rows_of(
    snapshot: SettingsSnapshot, words: str = ""
) -> dict[str, list[SettingsRow]]:
    rows: dict[str, list[SettingsRow]] = {}
    for setting in items():
        if _matches(words, setting.key, setting.declaration.meaning):
            heading = setting.section or EVERYWHERE
            rows.setdefault(heading, []).append(SettingRow(setting.name))
    for item in all_bound():
        keys = map(key_display, keys_of(item, snapshot))
        if _matches(words, KEYS, item.id, item.name, item.what, *keys):
            rows.setdefault(KEYS, []).append(KeyRow(item))
    for preset in snapshot.saved.presets.values():
        if _matches(words, PRESETS, preset.name, preset.system or ""):
            rows.setdefault(PRESETS, []).append(PresetRow(preset))
    return rows


def _matches(words: str, *texts: str) -> bool:
    searched = " ".join(texts).casefold()
    return all(word in searched for word in words.casefold().split())


def counted(rows: Iterable[SettingsRow]) -> str:
    """Return how many rows of each kind there are: `41 settings, 172 keys, 2
    presets`."""
    kinds = {SettingRow: "setting", KeyRow: "key", PresetRow: "preset"}
    counts = Counter(kinds[type(row)] for row in rows)
    parts = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items()]
    return ", ".join(parts) or "0 settings"


def shown(value: SettingValue) -> str:
    """Return a value as the file writes it, or `unset`."""
    return visible_line(value_text(value))


def line_of(row: SettingsRow, snapshot: SettingsSnapshot) -> Content:
    if isinstance(row, PresetRow):
        return _preset_line(row.preset)
    if isinstance(row, KeyRow):
        return line_of_keys(row.item, snapshot)
    value = snapshot.counting.value(row.name)
    changed = value != Settings().value(row.name)
    origin = snapshot.counting.origin(row.name)
    source = {"default": "", "file": "config.toml"}.get(origin.source, origin.where)
    return Content.assemble(
        f"  {setting_item(row.name).own_name:<{_NAME}} ",
        (f"{shown(value):<{_VALUE}}", "bold $accent" if changed else "$foreground"),
        (f" {source}", "$quiet"),
    )


def _preset_line(preset: Preset) -> Content:
    parts = [preset.system or ""] if preset.system else []
    parts += [f"{name} {shown(value)}" for name, value in preset.sampling.items()]
    return Content.assemble(
        f"  {visible_line(preset.name):<{_NAME}} ",
        (visible_line(" · ".join(parts)), "$quiet"),
    )


def about(
    row: SettingsRow, snapshot: SettingsSnapshot, more: Mapping[str, Sequence[str]]
) -> Content:
    """Return the preview of a row. `more` has the choices of settings whose values are
    only known at run time."""
    if isinstance(row, PresetRow):
        return _about_preset(row.preset)
    if isinstance(row, KeyRow):
        return about_keys(row.item, snapshot)
    name, item = row.name, setting_item(row.name)
    meaning = item.declaration.meaning
    head = Content.assemble((item.key, "bold"), f"\n{meaning}\n")
    lines = [Content(line) for line in _facts(item, snapshot, more.get(name, ()))]
    if stronger := snapshot.stronger(name):
        warning = (
            f"{stronger.where} is given and overrides the file until the program ends."
        )
        lines.append(Content.assemble((visible_line(warning), "$warning")))
    else:
        when = "at once" if item.declaration.at_once else "from the next start on"
        lines.append(Content.assemble((f"A change counts {when}.", "$quiet")))
    return Content("\n").join([head, *lines])


def _facts(
    item: SettingItem, snapshot: SettingsSnapshot, more: Sequence[str]
) -> Iterator[str]:
    if values := more or item.declaration.choices:
        yield f"One of: {visible_line(', '.join(values))}."
    elif bounds := item.declaration.hint:
        yield bounds
    elif item.kind is bool:
        yield "Enter switches it."
    yield f"Default: {shown(Settings().value(item.name))}"
    saved = shown(snapshot.saved.value(item.name))
    is_in_file = snapshot.saved.origin(item.name).source == "file"
    yield f"In config.toml: {saved if is_in_file else 'nothing'}"


def _about_preset(preset: Preset) -> Content:
    lines = [f"{name} = {shown(value)}" for name, value in preset.sampling.items()]
    if preset.system is not None:
        cut = len(preset.system) > _SYSTEM
        text = visible(preset.system[:_SYSTEM]) + ("…" if cut else "")
        lines.insert(0, f"{SYSTEM}: {text}")
    return Content.assemble(
        (visible_line(preset.name), "bold"), "\n" + "\n".join(lines)
    )

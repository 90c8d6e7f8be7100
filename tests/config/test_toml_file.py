"""Changing the settings file: exactly what was meant, and nothing else."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from lmtui.config.toml_file import TomlPath, TomlValue, change
from lmtui.errors import LmtuiError

VALUES: st.SearchStrategy[TomlValue] = st.one_of(
    st.text(max_size=12).filter(lambda text: text.isprintable() or "\n" in text),
    st.integers(-9, 10**6),
    st.floats(-10, 10),
    st.booleans(),
    st.lists(st.sampled_from(["top_k", "a b", '"', "\n", "# no"]), max_size=3),
)
NAMES = st.sampled_from(["top_k", "seed", "keep", "a b", "ü.x"])
TABLES = st.sampled_from([(), ("sampling",), ("chat",), ("presets", "one")])
KEYS = st.builds(lambda table, name: (*table, name), TABLES, NAMES)
CHANGES = st.tuples(KEYS, st.none() | VALUES)
"""A key with its new value; None removes it."""


@st.composite
def files(draw: st.DrawFn) -> str:
    """A settings file as a person writes it: comments, blank lines, any order."""
    parts: list[str] = []
    for table in draw(
        st.permutations([(), ("sampling",), ("chat",), ("presets", "one")])
    ):
        if table and draw(st.booleans()):
            parts.append(f"# above {'.'.join(table)}\n[{'.'.join(table)}] # beside\n")
        elif table or parts:
            continue
        names = draw(st.lists(NAMES, unique=True, max_size=3))
        for name in names:
            value = tomlkit.item(draw(VALUES)).as_string()
            comment = draw(st.sampled_from(["", "  # why"]))
            parts.append(f"{tomlkit.key(name).as_string()} = {value}{comment}\n")
        parts.append(draw(st.sampled_from(["", "\n", "\n\n", "# below\n\n"])))
    text = "".join(parts)
    return text.rstrip("\n") if draw(st.booleans()) else text


def without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """A table without empty ones in it."""
    inner = {
        k: without_empty(v) if isinstance(v, dict) else v for k, v in table.items()
    }
    return {k: v for k, v in inner.items() if v != {}}


def meant(
    text: str, changes: Sequence[tuple[TomlPath, TomlValue | None]]
) -> dict[str, Any]:
    """What the file says after the changes, told without a layout."""
    flat: dict[tuple[str, ...], Any] = {}

    def flatten(table: dict[str, Any], place: tuple[str, ...]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                flatten(value, (*place, name))
            else:
                flat[(*place, name)] = value

    flatten(tomllib.loads(text), ())
    for key, value in changes:
        if value is None:
            flat.pop(key, None)
        else:
            flat[key] = value
    found: dict[str, Any] = {}
    for (*tables, name), value in flat.items():
        place = found
        for table in tables:
            place = place.setdefault(table, {})
        place[name] = value
    return found


@given(files(), st.lists(CHANGES, max_size=4))
def test_change_applies_its_edits_and_keeps_comments(
    text: str, changes: list[tuple[TomlPath, TomlValue | None]]
) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(text.encode())
        written = text
        for key, value in changes:
            written = change(file, key, value, seen=written)
        assert file.read_bytes().decode() == written
    assert without_empty(tomllib.loads(written)) == meant(text, changes)
    dropped = any(value is None for _, value in changes)
    for line in text.splitlines():
        if line.startswith(("#", "[")):
            assert line in written.splitlines()
    if not dropped:
        assert written.count("# why") == text.count("# why")


@given(files(), KEYS, VALUES)
def test_change_keeps_existing_lines_in_order(
    text: str, key: tuple[str, ...], value: TomlValue
) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(text.encode())
        written = change(file, key, value).splitlines()
    lines = [line for line in text.splitlines() if line.startswith(("#", "["))]
    assert [line for line in written if line in lines] == lines


def test_new_line_goes_below_the_values_of_its_table(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        "[sampling] # s\ntop_k = 3 # three\n\n# talk\n[chat]\nkeep = true\n"
    )
    change(file, ("sampling", "seed"), 4)
    assert file.read_text() == (
        "[sampling] # s\ntop_k = 3 # three\nseed = 4\n\n# talk\n[chat]\nkeep = true\n"
    )


@pytest.mark.parametrize(
    ("text", "key", "value", "title"),
    [
        ("a = = 1", ("theme",), "light", "not valid TOML"),
        ("chat = 3", ("chat", "keep"), True, "would break"),
        ("", ("theme",), "\ud800", "would break"),
    ],
)
def test_refused_change_leaves_the_file_as_it_was(
    tmp_path: Path, text: str, key: TomlPath, value: TomlValue, title: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(LmtuiError, match=title):
        change(file, key, value)
    assert file.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]

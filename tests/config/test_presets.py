"""Presets in the settings file: read, refused, found, written, deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.config.load import load
from lmtui.config.presets import preset_named
from lmtui.config.settings import Preset, Settings
from lmtui.config.settings_file import SettingsFile
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError

PIRATE = Preset("pirate", "You are a pirate.", {"temperature": 1.0, "top_k": 5})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with a preset."""
    file = tmp_path / "config.toml"
    file.write_text(
        '# mine\n[presets.pirate]\nsystem = "You are a pirate."  # arr\n'
        "temperature = 1\ntop_k = 5\n"
    )
    return file


def sheet_of(file: Path, **flags: object) -> SettingsFile:
    started = load(flags, environment={}, file=file)  # type: ignore[arg-type]
    return SettingsFile(started, environment={}, file=file)


def test_presets_are_read_in_their_order(file: Path) -> None:
    file.write_text(file.read_text() + '[presets."two words"]\nsystem = ""\n')
    presets = load(environment={}, file=file).presets
    assert presets == {"pirate": PIRATE, "two words": Preset("two words", "")}
    assert list(presets) == ["pirate", "two words"]


def test_applied_preset_changes_only_its_own_settings() -> None:
    drawn = SamplingSettings(temperature=0.1, seed=3)
    assert PIRATE.applied(drawn) == SamplingSettings(temperature=1.0, top_k=5, seed=3)


@pytest.mark.parametrize(
    ("text", "title", "hint"),
    [
        ("presets = 3", "presets is not a table", "[presets.pirate]"),
        ("[presets]\nx = 3", "presets.x is not a table", "[presets.pirate]"),
        ("[presets.x]\nsystem = 3", "presets.x.system is not text in quotes", ""),
        ("[presets.x]\ntemperature = 'a'", "presets.x.temperature is not a", ""),
        (
            "[presets.x]\ntemperature = -1",
            "temperature is out of range",
            "from 0 to 100",
        ),
        ("[presets.'']\nseed = 1", "a preset needs a name", ""),
        ('[presets."\\u001b"]\nseed = 1', "can't be typed", ""),
        (f"[presets.{'x' * 41}]\nseed = 1", "too long", "at most 40"),
    ],
)
def test_a_broken_preset_is_named(file: Path, text: str, title: str, hint: str) -> None:
    file.write_text(text)
    with pytest.raises(LmtuiError, match=title) as caught:
        load(environment={}, file=file)
    assert str(file) in caught.value.detail
    assert hint in caught.value.hint


def test_unknown_preset_name_gets_a_hint() -> None:
    assert preset_named({"pirate": PIRATE}, "pirate") is PIRATE
    for presets, name, hint in (
        ({"pirate": PIRATE}, "pirat", "Did you mean pirate?"),
        ({"pirate": PIRATE}, "x", "There is pirate."),
        ({}, "x", "Write one into config.toml: [presets.x]"),
    ):
        with pytest.raises(LmtuiError, match="no preset of that name") as caught:
            preset_named(presets, name)
        assert caught.value.hint.startswith(hint)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda name: name.isprintable() and name == name.strip()
)
presets = st.builds(
    Preset,
    names,
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.fixed_dictionaries(
        {}, optional={"temperature": st.floats(0, 5), "seed": st.integers(0, 99)}
    ),
)


@given(presets, presets)
def test_written_presets_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, first: Preset, then: Preset
) -> None:
    file = tmp_path_factory.mktemp("home") / "config.toml"
    file.write_text("# mine\n\n[chat]\nkeep = true  # all\n")
    settings = SettingsFile(Settings(), environment={}, file=file)
    sheet = settings.put_preset(settings.read(), first)
    assert sheet.saved.presets == {first.name: first}
    if then.name != first.name:
        sheet = settings.put_preset(sheet, then)
        assert sheet.saved.presets == {first.name: first, then.name: then}
        sheet = settings.put(sheet, ("presets", then.name), None)
    sheet = settings.put(sheet, ("presets", first.name), None)
    assert sheet.saved.presets == {}
    assert file.read_text().startswith("# mine\n\n[chat]\nkeep = true  # all\n")


def test_duplicate_empty_or_nameless_preset_is_refused(file: Path) -> None:
    settings = sheet_of(file)
    sheet = settings.read()
    before = file.read_text()
    for preset, title in (
        (Preset("pirate", "other"), "a preset of this name already exists"),
        (Preset("empty"), "is empty"),
        (Preset(" ", "x"), "needs a name"),
    ):
        with pytest.raises(LmtuiError, match=title):
            settings.put_preset(sheet, preset)
    assert file.read_text() == before


def test_setting_is_put_and_removed_again(file: Path) -> None:
    before = file.read_text()
    settings = sheet_of(file, top_k=7)
    sheet = settings.put(settings.read(), ("sampling", "top_k"), 9)
    assert (sheet.saved.sampling.top_k, sheet.counting.sampling.top_k) == (9, 7)
    stronger = sheet.stronger("top_k")
    assert stronger is not None and stronger.where == "--top-k"
    assert sheet.stronger("seed") is None
    sheet = settings.put(sheet, ("sampling", "top_k"), None)
    assert sheet.saved.sampling.top_k == SamplingSettings().top_k
    assert file.read_text().startswith(before)


def test_outdated_settings_sheet_writes_nothing(file: Path) -> None:
    settings = sheet_of(file)
    sheet = settings.read()
    file.write_text(file.read_text() + "# theirs\n")
    for change in (
        lambda: settings.put(sheet, ("theme",), "light"),
        lambda: settings.put_preset(sheet, Preset("x", "y")),
        lambda: settings.put(sheet, ("presets", "pirate"), None),
    ):
        with pytest.raises(LmtuiError, match="changed by another program"):
            change()
    assert file.read_text().endswith("# theirs\n")
    assert "light" not in file.read_text()

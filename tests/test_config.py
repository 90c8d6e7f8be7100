"""Flag, environment, file, default: who wins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui import config
from lmtui.config import Origin, Settings, load
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file, not yet there."""
    return tmp_path / "config.toml"


def refused(file: Path, text: str | bytes) -> LmtuiError:
    """The error for a settings file with this content."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LmtuiError) as caught:
        load(environment={}, file=file)
    return caught.value


def test_without_anything_all_is_default(file: Path) -> None:
    settings = load(environment={}, file=file)
    assert settings == Settings()
    assert settings.sampling == SamplingSettings()
    assert settings.origin("model") == Origin("default", "default")


def test_each_source_wins_over_the_next(file: Path) -> None:
    file.write_text('model = "m"\nthreads = 2\n[sampling]\ntop_k = 3\nseed = 4\n')
    environment = {"LMTUI_TOP_K": "5", "LMTUI_SEED": "6", "LMTUI_DEVICE": ""}
    settings = load({"seed": 7, "top_p": None}, environment=environment, file=file)
    assert (settings.model, settings.threads) == ("m", 2)
    assert (settings.top_k, settings.seed, settings.device) == (5, 7, "auto")
    assert settings.sampling == SamplingSettings(top_k=5, seed=7)
    assert settings.origin("threads") == Origin("file", str(file))
    assert settings.origin("top_k") == Origin("environment", "LMTUI_TOP_K")
    assert settings.origin("seed") == Origin("flag", "--seed")
    assert settings.origin("top_p") == Origin()


def test_a_whole_number_will_do_for_a_float(file: Path) -> None:
    file.write_text("[sampling]\ntemperature = 1\n")
    temperature = load(environment={}, file=file).temperature
    assert temperature == 1.0
    assert isinstance(temperature, float)


def test_every_setting_has_a_sentence_and_a_default_in_the_sampler() -> None:
    for name in config.names():
        assert config.meaning(name).endswith(".")
    defaults = SamplingSettings()
    for name in SamplingSettings.__slots__:
        assert getattr(Settings(), name) == getattr(defaults, name)
        assert config.key(name) == f"sampling.{name}"


@pytest.mark.parametrize(
    ("text", "detail", "hint"),
    [
        ('modle = "x"', "modle", "Did you mean model?"),
        ("temperature = 1", "temperature", "Did you mean sampling.temperature?"),
        ("[sampling]\ntemprature = 1", "sampling.temprature", "sampling.temperature?"),
        ("xyzzy = 1", "xyzzy", "lmtui config"),
    ],
)
def test_an_unknown_key_is_named_with_the_closest(
    file: Path, text: str, detail: str, hint: str
) -> None:
    error = refused(file, text)
    assert error.title == "unknown key in the settings"
    assert detail in error.detail
    assert str(file) in error.detail
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("model = 3", "model is not text in quotes"),
        ("threads = 1.5", "threads is not a whole number"),
        ("threads = true", "threads is not a whole number"),
        ("threads = 0", "threads is out of range"),
        ('model = ""', "model is empty"),
        ("[sampling]\ntemperature = true", "sampling.temperature is not a number"),
        ("[sampling]\ntemperature = -1", "temperature is out of range"),
        ("[sampling]\ntop_p = 2", "top-p is out of range"),
        ("[sampling]\ntemperature = nan", "temperature is out of range"),
        ("sampling = 3", "unknown key in the settings"),
        ("[model]\nname = 3", "unknown key in the settings"),
    ],
)
def test_a_bad_value_is_named_with_its_file(file: Path, text: str, title: str) -> None:
    error = refused(file, text)
    assert error.title == title
    assert str(file) in error.detail


def test_broken_toml_is_shown_with_its_line(file: Path) -> None:
    error = refused(file, 'model = "m"\nthreads = = 3\n')
    assert "not valid TOML" in error.title
    assert "2 | threads = = 3" in error.detail
    assert refused(file, b"model = '\xff'").title == "the settings file is not UTF-8"


def test_a_folder_in_the_place_of_the_file(file: Path) -> None:
    file.mkdir()
    with pytest.raises(LmtuiError, match="can't be read"):
        load(environment={}, file=file)


@pytest.mark.parametrize(
    ("variable", "value", "title"),
    [
        ("LMTUI_TOP_K", "many", "top_k is not a whole number"),
        ("LMTUI_TEMPERATURE", "-1", "temperature is out of range"),
        ("LMTUI_TEMPERATURE", "inf", "temperature is out of range"),
        ("LMTUI_TEMPERTURE", "1", "unknown environment variable"),
    ],
)
def test_a_bad_variable_is_named(
    file: Path, variable: str, value: str, title: str
) -> None:
    with pytest.raises(LmtuiError) as caught:
        load(environment={variable: value}, file=file)
    assert caught.value.title == title
    assert variable in caught.value.detail


def test_someone_elses_variables_are_left_alone(file: Path) -> None:
    load(environment={"LMTUI_HOME": "/x", "LMTUI_PACKAGING_FLAGS": "1"}, file=file)

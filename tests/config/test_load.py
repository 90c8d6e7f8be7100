"""Flag, environment, file, default: who wins, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmtui.config import settings as fields
from lmtui.config.load import load, remember
from lmtui.config.settings import Origin, Settings
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.models.source import ModelRef
from lmtui.train.settings import TrainSettings
from lmtui.tui import themes

HUGE = f"1{'0' * 400}"
"""More than a float can be."""


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


def test_settings_without_any_source_are_the_defaults(file: Path) -> None:
    settings = load(environment={}, file=file)
    assert settings == Settings()
    assert settings.sampling == SamplingSettings()
    assert settings.origin("model") == Origin("default", "default")


def test_flag_overrides_environment_which_overrides_file(file: Path) -> None:
    file.write_text('model = "m"\nthreads = 2\n[sampling]\ntop_k = 3\nseed = 4\n')
    environment = {"LMTUI_TOP_K": "5", "LMTUI_SEED": "6", "LMTUI_DEVICE": ""}
    settings = load({"seed": 7, "top_p": None}, environment=environment, file=file)
    assert (settings.model, settings.threads) == ("m", 2)
    assert settings.sampling == SamplingSettings(top_k=5, seed=7)
    assert settings.device == "auto"
    assert settings.origin("threads") == Origin("file", str(file))
    assert settings.origin("top_k") == Origin("environment", "LMTUI_TOP_K")
    assert settings.origin("seed") == Origin("flag", "--seed")
    assert settings.origin("top_p") == Origin()


def test_stronger_model_or_adapter_drops_the_weaker_pair(file: Path) -> None:
    def wanted(written: str = "", env: str = "", **flags: str) -> ModelRef:
        file.write_text(written)
        names = dict.fromkeys(env.split(), "e")
        return load(flags, environment=names, file=file).model_ref

    both = 'model = "m"\nadapter = "a"'
    assert wanted() == ModelRef()
    assert wanted(both) == ModelRef("m", "a")
    assert wanted(model="m", adapter="a") == ModelRef("m", "a")
    assert wanted(both, "LMTUI_MODEL", model="x", adapter="b") == ModelRef("x", "b")
    # Whoever names one of them does not mean it for what was set once and for all.
    assert wanted(both, adapter="b") == ModelRef(None, "b")
    assert wanted(both, model="x") == ModelRef("x")
    assert wanted(both, "LMTUI_ADAPTER") == ModelRef(None, "e")
    assert wanted('model = "m"', "LMTUI_MODEL", adapter="b") == ModelRef(None, "b")
    assert wanted('adapter = "a"', "LMTUI_MODEL") == ModelRef("e")


def test_a_whole_number_will_do_for_a_float(file: Path) -> None:
    file.write_text("[sampling]\ntemperature = 1\n")
    temperature = load(environment={}, file=file).sampling.temperature
    assert temperature == 1.0
    assert isinstance(temperature, float)


def test_every_setting_has_a_meaning_and_the_samplers_default() -> None:
    for item in fields.items():
        assert item.declaration.meaning.endswith(".")
    defaults = SamplingSettings()
    for name in SamplingSettings.__slots__:
        assert Settings().value(name) == getattr(defaults, name)
        assert fields.item(name).key == f"sampling.{name}"


@pytest.mark.parametrize(
    ("text", "detail", "hint"),
    [
        ('modle = "x"', "modle", "did you mean model?"),
        ("temperature = 1", "temperature", "did you mean sampling.temperature?"),
        ("[sampling]\ntemprature = 1", "sampling.temprature", "sampling.temperature?"),
        ("xyzzy = 1", "xyzzy", "lmtui config"),
        ("sampling = 3", "sampling", "did you mean"),
        ("[presets.x]\ntemprature = 1", "presets.x.temprature", "x.temperature?"),
        ("[servers.x]\naddress='http://x'\nport = 1", "servers.x.port", "did you mean"),
    ],
)
def test_an_unknown_key_is_a_warning_with_the_closest(
    file: Path, text: str, detail: str, hint: str
) -> None:
    file.write_text(f"{text}\n[chat]\nthinking = 'on'\n")
    settings = load(environment={}, file=file)
    [warning] = settings.warnings
    assert warning.startswith(f"unknown setting {detail} in {file}: ")
    assert hint in warning
    # What is beside it counts, and what is not known changes nothing.
    assert settings.chat.thinking == "on"
    assert settings.origins.keys() == {"chat_thinking"}


def test_every_number_has_bounds_that_a_refusal_names() -> None:
    numbers = [item for item in fields.items() if item.kind in (int, float)]
    assert len(numbers) > 35
    for item in numbers:
        hint = item.declaration.hint
        assert "from" in hint or " and " in hint, item.name


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("model = 3", "model is not text in quotes"),
        ("threads = 1.5", "threads is not a whole number"),
        ("threads = true", "threads is not a whole number"),
        ("threads = 0", "threads is out of range"),
        ("[complete]\nghost_delay = 1e9", "complete.ghost_delay is out of range"),
        pytest.param(
            f"[sampling]\ntop_k = -{HUGE}", "top-k is out of range", id="huge integer"
        ),
        pytest.param(
            f"[sampling]\ntemperature = {HUGE}",
            "temperature is out of range",
            id="huge number",
        ),
        ('model = ""', "model is empty"),
        ('theme = ""', "theme is empty"),
        ("keys = 3", "keys is not a table"),
        ('[keys]\n"chat.stop" = 3', "keys.chat.stop is not text in quotes"),
        ("[keys]\nchat.stop = []", "keys.chat.stop is not text in quotes"),
        ("[sampling]\ntemperature = true", "sampling.temperature is not a number"),
        ("[sampling]\ntemperature = -1", "temperature is out of range"),
        ("[sampling]\ntemperature = nan", "temperature is out of range"),
        ("[finetune]\nstrict = 1", "finetune.strict is not true or false"),
        ("[model]\nname = 3", "model is not text in quotes"),
        ("[finetune]\nmethod = 'dora'", "finetune.method is unknown"),
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


@pytest.mark.parametrize(
    ("variable", "value", "title"),
    [
        ("LMTUI_TOP_K", "many", "sampling.top_k is not a whole number"),
        ("LMTUI_TEMPERATURE", "-1", "temperature is out of range"),
        pytest.param(
            "LMTUI_TOP_K", f"-{HUGE}", "top-k is out of range", id="huge integer"
        ),
        ("LMTUI_TEMPERATURE", "inf", "temperature is out of range"),
        ("LMTUI_FINETUNE_STRICT", "maybe", "finetune.strict is not true or false"),
    ],
)
def test_a_bad_variable_is_named(
    file: Path, variable: str, value: str, title: str
) -> None:
    with pytest.raises(LmtuiError) as caught:
        load(environment={variable: value}, file=file)
    assert caught.value.title == title
    assert variable in caught.value.detail


def test_a_misspelt_variable_is_a_warning(file: Path) -> None:
    settings = load(environment={"LMTUI_TEMPERTURE": "1"}, file=file)
    assert settings.warnings == (
        "unknown variable LMTUI_TEMPERTURE: did you mean LMTUI_TEMPERATURE?",
    )
    assert settings.origins == {}


def test_home_and_foreign_variables_are_ignored(file: Path) -> None:
    load(environment={"LMTUI_HOME": "/x", "LMTUI_PACKAGING_FLAGS": "1"}, file=file)


def test_keys_are_read_with_and_without_quotes(file: Path) -> None:
    file.write_text('[keys]\n"chat.stop" = "f5"\nchat.tokens = "f7,f8"\n[keys.live]\n')
    keys = load(environment={}, file=file).keys
    assert keys == {"chat.stop": "f5", "chat.tokens": "f7,f8"}


def test_the_default_theme_is_the_screens_own() -> None:
    assert Settings().theme == themes.DEFAULT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, 'theme = "light"\n'),
        ('model = "m"', 'model = "m"\ntheme = "light"\n'),
        (
            "theme = 'dark'  # at night\r\nmodel = 'm'\r\n",
            "theme = \"light\"  # at night\r\nmodel = 'm'\r\n",
        ),
        (
            'model = "m"  # small\n\n# drawing\n[sampling]\ntop_k = 3\n',
            'model = "m"  # small\ntheme = "light"\n\n'
            "# drawing\n[sampling]\ntop_k = 3\n",
        ),
        (
            "# mine\n\n# drawing\n[sampling]\ntop_k = 3\n",
            'theme = "light"\n\n# mine\n\n# drawing\n[sampling]\ntop_k = 3\n',
        ),
        ("[sampling]\ntop_k = 3", 'theme = "light"\n\n[sampling]\ntop_k = 3'),
    ],
)
def test_remember_changes_one_line(file: Path, before: str | None, after: str) -> None:
    if before is not None:
        file.write_bytes(before.encode())
    remember("theme", "light", file=file)
    assert file.read_bytes().decode() == after
    assert load(environment={}, file=file).theme == "light"


def test_remember_keeps_permissions_and_links(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_text('theme = "dark"\n')
    target.chmod(0o644)
    link = tmp_path / "home" / "config.toml"
    link.parent.mkdir()
    link.symlink_to(target)
    remember("theme", "light", file=link)
    assert link.is_symlink()
    assert target.read_text() == 'theme = "light"\n'
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in link.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("[" + ".".join("a" * 3000) + "]\nb = 1", "nested too deeply"),
        ("keys." + ".".join("a" * 3000) + " = 1", "nested too deeply"),
        ("threads = " + "1" * 5000, "4300 digits"),
        (" " * (2 << 20), "more than"),
    ],
    ids=["arrays", "closed arrays", "tables", "keys", "digits", "size"],
)
def test_oversized_or_deeply_nested_settings_are_refused(
    file: Path, text: str, words: str
) -> None:
    error = refused(file, text)
    assert words in error.detail and str(file) in error.detail
    assert error.hint


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_settings_path_that_is_no_regular_file_is_refused(
    file: Path, kind: str
) -> None:
    match kind:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case _:
            file.symlink_to("/dev/zero")
    with pytest.raises(LmtuiError, match="the settings file can't be read") as caught:
        load(environment={}, file=file)
    assert "no ordinary file" in str(caught.value)


def test_remember_reports_an_unwritable_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LmtuiError, match="can't be written"):
        remember("theme", "light", file=tmp_path / "file" / "config.toml")


def test_suggestion_settings_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[complete]\nghost_delay = 0\nghost_tokens = 9\nghost_prob = 0.1\n")
    settings = load(environment={}, file=file)
    rules = settings.suggestions
    assert (rules.delay, rules.max_tokens, rules.min_prob) == (0, 9, 0.1)
    assert rules.seconds == 0.6


def test_finetune_settings_come_from_flag_environment_and_file(file: Path) -> None:
    file.write_text("[finetune]\nepochs = 1\nseed = 5\nstrict = true\nlr = 0.01\n")
    environment = {"LMTUI_FINETUNE_SEED": "6", "LMTUI_FINETUNE_STRICT": "False"}
    settings = load({"finetune_lr": 0.02}, environment=environment, file=file)
    assert settings.training == TrainSettings(epochs=1.0, seed=6, lr=0.02)
    assert settings.sampling.seed is None
    assert settings.origin("finetune_lr") == Origin("flag", "--lr")


def test_every_setting_of_a_training_can_be_set() -> None:
    names = [name for name in fields.names() if name.startswith("finetune_")]
    own = [name.removeprefix("finetune_") for name in names]
    assert sorted(own) == sorted(TrainSettings.__slots__)
    assert [fields.item(name).key for name in names] == [
        f"finetune.{name}" for name in own
    ]
    assert Settings().training == TrainSettings()
    assert fields.item("finetune_max_file_mb").variable == "LMTUI_FINETUNE_MAX_FILE_MB"
    assert fields.item("finetune_max_file_mb").flag is None
    assert fields.item("finetune_lr").flag == "--lr"

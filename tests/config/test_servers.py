"""Servers in the settings file: read, refused, and what a value of `--model` means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.config.load import load
from lmtui.config.servers import servers_in
from lmtui.config.settings import Server, Settings, items
from lmtui.config.settings_file import SettingsFile
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import DIALECTS, KEY_VARIABLE, ServerOptions

GPU = "https://gpu.example:8000/v1"
TABLE = f"""\
[servers.gpu]
address = "{GPU}"  # in the cellar
key = "GPU_KEY"
dialect = "vllm"
tokenizer = "owner/name"

[servers.plain-2]
address = " http://127.0.0.1:8080#a "
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file with two servers."""
    file = tmp_path / "config.toml"
    file.write_text(TABLE)
    return file


def refused(file: Path, text: str) -> LmtuiError:
    """The error for a settings file with this content."""
    file.write_text(text)
    with pytest.raises(LmtuiError) as caught:
        load(environment={}, file=file)
    return caught.value


def whole(error: LmtuiError) -> str:
    """All that is shown of an error."""
    return f"{error.title}\n{error.detail}\n{error.hint}"


def test_servers_are_read_in_their_order(file: Path) -> None:
    settings = load(environment={}, file=file)
    said = {"dialect": "vllm", "tokenizer": "owner/name"}
    plain = "http://127.0.0.1:8080#a"
    assert settings.servers == {
        "gpu": Server("gpu", GPU, "GPU_KEY", said),
        "plain-2": Server("plain-2", plain),
    }
    assert list(settings.servers) == ["gpu", "plain-2"]
    options = ServerOptions("GPU_KEY", "vllm", "owner/name")
    assert settings.server_of("gpu") == (GPU, options)
    assert settings.server_of(" gpu ") == (GPU, options)
    assert settings.server_of("plain-2") == (plain, ServerOptions())


def test_server_counts_before_a_model_of_that_name_and_nothing_else(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(TABLE.replace("plain-2", "gpt2"))
    (tmp_path / "gpu").mkdir()
    monkeypatch.chdir(tmp_path)
    settings = load(environment={}, file=file)
    assert settings.server_of("gpu")[0] == GPU
    assert settings.server_of("gpt2")[0] == "http://127.0.0.1:8080#a"
    for other in (None, "", "default", "./gpu", "GPU", "owner/gpu"):
        assert settings.server_of(other) == (other, ServerOptions())
    assert Settings().server_of("gpu") == ("gpu", ServerOptions())


@pytest.mark.parametrize(
    ("address", "is_its_own"),
    [
        (GPU, True),
        ("HTTPS://GPU.example:8000/", True),
        (f"{GPU}#another%20model", True),
        (GPU.replace("https", "http"), False),
        (GPU.replace("8000", "8001"), False),
        (GPU.replace("gpu", "gpv"), False),
        (GPU.replace("/v1", "/path/v1"), False),
    ],
)
def test_address_of_a_declared_server_is_used_as_its_table_says(
    file: Path, address: str, is_its_own: bool
) -> None:
    settings = load(environment={}, file=file)
    asked, options = settings.server_of(address)
    assert asked == address
    assert options == (settings.server_of("gpu")[1] if is_its_own else ServerOptions())


def test_of_two_servers_at_an_address_the_one_for_the_model_counts(file: Path) -> None:
    file.write_text(
        f'[servers.a]\naddress = "{GPU}#a"\nkey = "A"\n'
        f'[servers.b]\naddress = "{GPU}#b"\nkey = "B"\n'
    )
    settings = load(environment={}, file=file)
    variables = [
        settings.server_of(f"{GPU}{model}")[1].key_variable
        for model in ("", "#a", "#b", "#c")
    ]
    assert variables == ["A", "A", "B", "A"]


@given(
    flag=st.none() | st.sampled_from(DIALECTS),
    variable=st.none() | st.sampled_from(DIALECTS),
    own=st.none() | st.sampled_from(DIALECTS),
    section=st.none() | st.sampled_from(DIALECTS),
)
def test_flag_and_variable_override_the_servers_table_which_overrides_the_section(
    tmp_path_factory: pytest.TempPathFactory,
    flag: str | None,
    variable: str | None,
    own: str | None,
    section: str | None,
) -> None:
    file = tmp_path_factory.mktemp("home") / "config.toml"
    lines = [f'dialect = "{section}"' if section else "", "[servers.gpu]"]
    lines += [f'address = "{GPU}"', f'dialect = "{own}"' if own else ""]
    file.write_text("\n".join(["[remote]", *lines]))
    environment = {"LMTUI_REMOTE_DIALECT": variable} if variable else {}
    settings = load({"remote_dialect": flag}, environment=environment, file=file)
    named = settings.server_of("gpu")[1].dialect
    assert named == (flag or variable or own or section or "auto")
    other = settings.server_of("http://127.0.0.1:1")[1].dialect
    assert other == (flag or variable or section or "auto")


@pytest.mark.parametrize(
    ("text", "title", "hint"),
    [
        ("servers = 'a secret'", "servers is not a table", "[servers.gpu]"),
        ("[servers]\nkey = 'a secret'", "servers.key is not a table", "[servers.gpu]"),
        ("[servers.x]\nkey = 'X'", "has no http address", "127.0.0.1:8080/v1"),
        ("[servers.x]\naddress = 3", "has no http address", "127.0.0.1:8080/v1"),
        ("[servers.x]\naddress = 'http://'", "can't be used", "/v1"),
        (
            "[servers.x]\nadress = 'http://x'",
            "has no http address",
            "127.0.0.1:8080/v1",
        ),
        ("dialect = 'grpc'", "dialect is unknown", "llama-server"),
        ("tokenizer = ''", "tokenizer is empty", ""),
        ("dialect = 1", "dialect is not text", ""),
        ("[servers.'a b']\nkey = 'X'", "name of the server can't be used", "letters"),
        ("[servers.'']\nkey = 'X'", "name of the server can't be used", "letters"),
        ("[servers.default]", "name of the server can't be used", "default model"),
    ],
)
def test_a_broken_server_is_named(file: Path, text: str, title: str, hint: str) -> None:
    head = "" if "servers" in text else '[servers.x]\naddress = "http://x"\n'
    error = refused(file, f"{head}{text}")
    assert title in error.title
    assert hint in error.hint
    assert str(file) in error.detail
    assert "a secret" not in whole(error)


def test_password_in_a_servers_address_is_refused_with_its_variable(file: Path) -> None:
    text = '[servers.x]\nkey = "X_KEY"\naddress = "http://me:a-secret@host"'
    error = refused(file, text)
    assert "X_KEY" in error.hint and "a-secret" not in whole(error)


def refusal(value: object) -> str:
    """What is shown where a server's key is this value."""
    table = {"gpu": {"address": GPU, "key": value}}
    with pytest.raises(LmtuiError) as caught:
        servers_in(table, Path("config.toml"))
    return whole(caught.value)


NAME = r"[A-Z_][A-Z0-9_]{0,63}"


@given(st.from_regex(NAME, fullmatch=True), st.text() | st.integers() | st.booleans())
def test_key_is_the_name_of_a_variable_and_no_other_value_is_shown(
    name: str, value: object
) -> None:
    table = {"gpu": {"address": GPU, "key": name}}
    assert servers_in(table, Path())["gpu"].key_variable == name
    if not isinstance(value, str) or not re.fullmatch(NAME, value):
        assert refusal(value) == refusal("no name")


def test_value_of_an_unknown_key_is_not_shown(file: Path) -> None:
    file.write_text(f"[servers.gpu]\naddress = '{GPU}'\nkeyy = 'sk-0123'\n")
    [warning] = load(environment={}, file=file).warnings
    assert "servers.gpu.keyy" in warning
    assert "sk-0123" not in warning


@pytest.mark.parametrize(
    "value",
    ["sk-0123456789abcdef", "hf_abcDEF0123456789", "0123456789ABCDEF", "A" * 65, ""],
)
def test_likely_keys_are_refused_and_not_shown(file: Path, value: str) -> None:
    table = f'[servers.gpu]\naddress = "{GPU}"\nkey ='
    error = refused(file, f'{table} "{value}"\n')
    assert "never stored in the file" in error.hint
    assert not value or value not in whole(error)
    error = refused(file, f"{table} ={value}")
    assert "not valid TOML" in error.title
    assert not value or value not in whole(error)


def test_variable_of_a_setting_can_not_hold_a_key(file: Path) -> None:
    for item in items():
        error = refused(
            file, f'[servers.x]\naddress = "{GPU}"\nkey = "{item.variable}"'
        )
        assert error.title.startswith("this variable is a setting")


def test_variable_of_a_key_is_no_misspelt_setting(file: Path) -> None:
    file.write_text(TABLE.replace("GPU_KEY", "LMTUI_MODEL_KEY"))
    environment = {"LMTUI_MODEL_KEY": "secret", KEY_VARIABLE: "secret"}
    settings = load(environment=environment, file=file)
    assert settings.server_of("gpu")[1].key_variable == "LMTUI_MODEL_KEY"
    assert "secret" not in repr(settings)
    other = load(environment={"LMTUI_MODEL_KEYS": "x"}, file=file.with_name("none"))
    assert len(other.warnings) == 1


def test_servers_stay_as_they_are_where_a_setting_is_written(file: Path) -> None:
    settings = SettingsFile(Settings(), environment={}, file=file)
    sheet = settings.put(settings.read(), ("remote", "dialect"), "openai")
    assert file.read_text().startswith(TABLE)
    assert sheet.saved.remote.dialect == "openai"
    assert list(sheet.saved.servers) == ["gpu", "plain-2"]

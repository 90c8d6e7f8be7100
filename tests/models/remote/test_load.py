"""What is sent to a server, and what is said before."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress, ignore
from lmtui.models.remote.address import KEY_VARIABLE, ServerOptions
from lmtui.models.remote.load import load_remote
from tests.models.remote.scripted import answer, scripted


def warnings(address: str) -> list[str]:
    """What is said of a server that is not there."""
    heard: list[Progress] = []
    with pytest.raises(LmtuiError):
        load_remote(address, heard.append, ServerOptions())
    return [each.what for each in heard if each.warning]


@pytest.mark.parametrize("key", ["", "secret"])
def test_texts_that_are_not_encrypted_are_announced_each_time(
    key: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    assert warnings("http://127.0.0.1:1") == []
    for _ in range(2):
        # reaches this machine, and is not called so
        (said,) = warnings("http://0.0.0.0:1")
        what = "Texts and the key are" if key else "Texts are"
        assert said.startswith(f"{what} sent to 0.0.0.0:1")
        assert "not encrypted" in said and "secret" not in said


def test_encrypted_texts_are_announced_once_per_host(home: Path) -> None:
    one, other = "https://0.0.0.0:1", "https://0.0.0.0:2"
    with pytest.raises(LmtuiError):  # nobody hears it
        load_remote(one, ignore, ServerOptions())
    assert warnings(one) == ["Texts are sent to 0.0.0.0:1."]
    assert warnings(f"{one}/v1#model") == []
    assert len(warnings(other)) == 1
    assert warnings(one) == warnings(other) == []
    assert warnings("https://127.0.0.1:1") == []


def test_texts_are_announced_each_time_where_that_can_not_be_noted(
    home: Path,
) -> None:
    paths.ensure_folder(paths.state_folder().parent)
    paths.state_folder().write_text("in the way")
    for _ in range(2):
        assert len(warnings("https://0.0.0.0:1")) == 1


def test_key_comes_from_the_servers_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another")
    monkeypatch.setenv("GPU_KEY", "secret")
    with (
        scripted([answer(b"", "401 No")]) as served,
        pytest.raises(LmtuiError, match="refuses the key") as caught,
    ):
        load_remote(served.url, ignore, ServerOptions("GPU_KEY"))
    (asked,) = served.asked
    assert b"Bearer secret" in asked and b"another" not in asked
    assert "GPU_KEY" in caught.value.hint and "secret" not in str(caught.value)


def test_no_other_key_is_sent_where_the_servers_variable_is_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with scripted([answer(b"{}")]) as served, pytest.raises(LmtuiError):
        load_remote(served.url, ignore, ServerOptions("GPU_KEY"))
    assert b"authorization" not in served.asked[0].lower()

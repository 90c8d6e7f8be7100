"""What is sent to a server, and what is said before."""

from __future__ import annotations

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.load import load
from lmtui.models.progress import Progress
from lmtui.models.remote.address import KEY_VARIABLE, ServerOptions
from lmtui.models.remote.load import load_remote
from tests.models.remote.scripted import answer, scripted


def warnings(host: str) -> list[str]:
    """What is said of a server, by this name, that then answers nonsense."""
    told: list[Progress] = []
    with scripted([answer(b"{}")]) as served, pytest.raises(LmtuiError):
        url = served.url.replace("127.0.0.1", host)
        load_remote(url, told.append, ServerOptions())
    return [each.what for each in told if each.warning]


@pytest.mark.parametrize("key", ["", "secret"])
def test_texts_that_leave_this_machine_are_announced(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    assert warnings("127.0.0.1") == []
    (said,) = warnings("0.0.0.0")  # reaches this machine, and is not called so
    what = "Texts and the key are" if key else "Texts are"
    assert said.startswith(f"{what} sent to 0.0.0.0:")
    assert "not encrypted" in said and "secret" not in said


def test_key_comes_from_the_servers_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another")
    monkeypatch.setenv("GPU_KEY", "secret")
    with (
        scripted([answer(b"", "401 No")]) as served,
        pytest.raises(LmtuiError, match="refuses the key") as caught,
    ):
        load(served.url, server=ServerOptions("GPU_KEY"))
    (asked,) = served.asked
    assert b"Bearer secret" in asked and b"another" not in asked
    assert "GPU_KEY" in caught.value.hint and "secret" not in str(caught.value)


def test_no_other_key_is_sent_where_the_servers_variable_is_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "another")
    with scripted([answer(b"{}")]) as served, pytest.raises(LmtuiError):
        load(served.url, server=ServerOptions("GPU_KEY"))
    assert b"authorization" not in served.asked[0].lower()

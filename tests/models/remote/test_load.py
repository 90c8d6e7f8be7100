"""What is said before a text leaves this machine."""

from __future__ import annotations

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.models.remote.address import KEY_VARIABLE
from lmtui.models.remote.load import load_remote
from tests.models.remote.scripted import answer, scripted


def warnings(host: str) -> list[str]:
    """What is said of a server, by this name, that then answers nonsense."""
    told: list[Progress] = []
    with scripted([answer(b"{}")]) as served, pytest.raises(LmtuiError):
        load_remote(served.url.replace("127.0.0.1", host), told.append)
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

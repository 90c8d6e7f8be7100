"""A message that goes back to the prompt says the same when it is sent again."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.attachments import attach, mentions
from lmtui.tui.chat.commands import is_command
from lmtui.tui.chat.prompt import as_draft, as_message

TEXTS = st.lists(
    st.sampled_from(["@", '"', "/", " ", "\n", "\\", "a.md", "help", "@a.md", "x", "."])
).map("".join)


@given(TEXTS)
def test_as_draft_round_trips_any_message(text: str) -> None:
    draft = as_draft(text)
    assert not is_command(draft)
    assert as_message(draft).lstrip().startswith("/") == text.lstrip().startswith("/")
    assert not mentions(draft)
    with TemporaryDirectory() as name:
        (Path(name) / "a.md").write_text("secret")
        assert attach(as_message(draft), Path(name)).text == text


def test_draft_doubles_a_leading_slash() -> None:
    assert as_message("//help") == "/help" and as_draft("/help") == "//help"
    assert as_message("a // b") == "a // b" == as_draft("a // b")

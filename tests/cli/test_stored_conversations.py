"""One message of a kept conversation."""

from __future__ import annotations

import pytest

from lmtui.chat.store import Store, default_file
from lmtui.chat.summary import ConversationMeta
from lmtui.cli.history import load_message
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from tests.chat.making import full


def test_a_message_is_read_with_its_ids_and_what_stands_before() -> None:
    chat = full()
    store = Store(default_file())
    store.add("a", chat, ConversationMeta("t"))
    store.close()
    reply = load_message("1", 2)
    node = chat.node(2)
    assert (reply.text, reply.ids, reply.model) == ("It is Paris.", node.ids, "fake")
    assert node.prompt is not None and reply.prefix == node.prompt.ids
    assert reply.before[0] == ChatTurn("system", "be brief")
    asked = load_message("last", 3)
    assert (asked.text, asked.ids, asked.prefix) == ("And of Japan?", (), ())
    assert len(asked.before) == 3
    for number in (5, 8, 99, -1):  # without words, deleted, none
        with pytest.raises(LmtuiError, match="no such message"):
            load_message("1", number)

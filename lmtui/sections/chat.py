"""The section `[chat]`: what becomes of conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.sections.setting import setting

CHAT = "chat"
WHEN_FULL = ("stop", "drop")


@dataclass(frozen=True)
class ChatSection:
    """What is kept."""

    chat_keep: bool = setting(
        True,
        "Whether conversations are kept, those of `chat --once` too; false keeps "
        "nothing, and what was kept before stays.",
        kind=bool,
        section=CHAT,
        flag=None,
    )

    chat_when_full: str = setting(
        "stop",
        "What is done where a conversation does not fit the context any more: stop "
        "says so; drop leaves out the oldest turns, a quarter of the context at a "
        "time, and marks how many.",
        kind=str,
        section=CHAT,
        flag=None,
        choices=WHEN_FULL,
    )


def check(name: str, value: Any) -> None:
    """Refuse a value that nothing is done for.

    Raises:
        LmtuiError: it is none of those there are.
    """
    if name == "chat_when_full" and value not in WHEN_FULL:
        options = ", ".join(WHEN_FULL)
        raise LmtuiError(
            "chat.when_full is unknown", f"{value}", f"Give one of: {options}."
        )

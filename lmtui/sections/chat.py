"""The section `[chat]`: what becomes of conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmtui.sections.setting import setting

CHAT = "chat"


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


def check(name: str, value: Any) -> None:
    """Yes or no can both be used."""

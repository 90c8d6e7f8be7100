"""The section `[chat]`: how conversations are held, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.sections.setting import setting

CHAT = "chat"
WHEN_FULL = ("stop", "drop")
FOLLOWED = ("chat_when_full", "chat_thinking")
"""What counts at once where it is changed while a conversation is held."""
THINKING = {"auto": None, "on": True, "off": False}
"""The values of `chat.thinking`, and what each tells a model."""


@dataclass(frozen=True)
class ChatSection:
    """What is kept, and what a model is told."""

    chat_keep: bool = setting(
        True,
        "Whether conversations are saved, those of `chat --once` too; false saves "
        "nothing, and earlier conversations stay.",
        kind=bool,
        section=CHAT,
        flag=None,
    )

    chat_when_full: str = setting(
        "stop",
        "What happens when a conversation no longer fits the context: stop says so; "
        "drop leaves out the oldest turns, a quarter of the context at a time, and "
        "marks how many.",
        kind=str,
        section=CHAT,
        flag=None,
        choices=WHEN_FULL,
    )

    chat_thinking: str = setting(
        "auto",
        "Whether a model that can think before it answers is told to: on or off; auto "
        "leaves it to its chat template. What /think or the flag says is saved with "
        "the conversation and counts there.",
        kind=str,
        section=CHAT,
        flag="--think",
        choices=tuple(THINKING),
    )

    @property
    def thinking(self) -> bool | None:
        """What a model is told of thinking; None for nothing."""
        return THINKING[self.chat_thinking]


def check(name: str, value: Any) -> None:
    """Refuse a value that nothing is done for.

    Raises:
        LmtuiError: it is none of those there are.
    """
    known = {"chat_when_full": WHEN_FULL, "chat_thinking": tuple(THINKING)}
    if name in known and value not in known[name]:
        key, options = name.removeprefix("chat_"), ", ".join(known[name])
        raise LmtuiError(
            f"chat.{key} is unknown", f"{value}", f"Give one of: {options}."
        )

"""Calls that are made once, after some time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual.message_pump import MessagePump


def call_after(
    pump: MessagePump, seconds: float, call: Callable[[], object]
) -> asyncio.TimerHandle:
    """Have a function called among the messages of a widget, a screen or the app.

    A one-shot timer of Textual is skipped where more than its time passes before it
    begins to wait, as on a machine that was busy or asleep.
    """
    return asyncio.get_running_loop().call_later(seconds, pump.call_next, call)

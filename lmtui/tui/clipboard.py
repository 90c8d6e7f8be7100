"""Copying, also where the terminal does not pass it on.

Owns which program of this machine takes a text for its clipboard; the terminal is asked
besides, which reaches the user's own machine from another one. Waits for nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread

_SECONDS = 3.0


def command(environment: Mapping[str, str], platform: str) -> Sequence[str] | None:
    """What takes a text for the clipboard here; None where nothing does."""
    found: list[Sequence[str]] = []
    if platform == "darwin":
        found.append(("pbcopy",))
    if environment.get("WAYLAND_DISPLAY"):
        found.append(("wl-copy",))
    if environment.get("DISPLAY"):
        found += [("xclip", "-selection", "clipboard"), ("xsel", "-ib")]
    return next((each for each in found if shutil.which(each[0])), None)


def copy_here(text: str) -> None:
    """Give a text to the clipboard of this machine, if it has one."""
    tool = command(os.environ, sys.platform)
    if tool is None:
        return

    def run() -> None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                tool,
                input=text.encode("utf-8", "replace"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )

    Thread(target=run, name="clipboard", daemon=True).start()

"""A headless Chromium for tests of pages, where there is one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A headless Chromium, told what to do through a pipe (DevTools protocol)."""

    def __init__(self, profile: Path) -> None:
        # Its ends of the pipes have to be 3 and 4; ours must not be in the way.
        pairs = [
            [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in os.pipe()] for _ in "io"
        ]
        (reads, self._write), (self._read, writes) = pairs
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        join = f'exec "$0" "$@" 3<&{reads} 4>&{writes}'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", join, str(BROWSER), *flags, "about:blank"],
            pass_fds=(reads, writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (reads, writes):
            os.close(end)
        self._heard = b""
        self._number = 0
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """What it answers."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        os.write(self._write, json.dumps(asked | self._session).encode() + b"\0")
        while (heard := self._next()).get("id") != self._number:
            self.events.append(heard)
        return heard["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser is gone"
            self._heard += part
        first, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, file: Path) -> None:
        """Show a page; the events are those from then on."""
        self.events.clear()
        self.ask("Page.navigate", url=file.as_uri())
        self.wait("Page.loadEventFired")

    def wait(self, method: str) -> None:
        """Wait for an event, unless it has come already."""
        while method not in [event["method"] for event in self.events]:
            self.events.append(self._next())

    def value(self, code: str) -> Any:
        """What an expression is in the page."""
        return self.ask("Runtime.evaluate", expression=code)["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def close(self) -> None:
        """End it."""
        self.ask("Browser.close")
        self._process.wait(timeout=20)
        for end in (self._read, self._write):
            os.close(end)

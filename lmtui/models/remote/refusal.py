"""Error of a server that refuses a request."""

from __future__ import annotations

from lmtui.errors import LmtuiError


class RequestRefused(LmtuiError):
    """A server refuses a request, for another reason than its key."""

    def __init__(
        self, title: str, detail: str = "", hint: str = "", *, status: int | None = None
    ) -> None:
        """`status` is that of the response; None within an answer."""
        super().__init__(title, detail, hint)
        self.status = status

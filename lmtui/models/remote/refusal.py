"""Error of a server that refuses a request."""

from __future__ import annotations

from lmtui.errors import LmtuiError

_OTHER_REASONS = (404, 429, 503)  # no such model, too many requests, still loading


class RequestRefused(LmtuiError):
    """A server refuses a request, for another reason than its key."""

    def __init__(
        self, title: str, detail: str = "", hint: str = "", *, status: int | None = None
    ) -> None:
        """`status` is that of the response; None within an answer."""
        super().__init__(title, detail, hint)
        self.status = status

    @property
    def is_about_fields(self) -> bool:
        """Whether a request with other fields may be taken."""
        return self.status not in _OTHER_REASONS

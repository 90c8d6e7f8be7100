"""The text that an inspector shows, and where it comes from.

It is read on another thread, up to a longest length; or refused, with the reason. Knows
no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.message import Message

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import post_from_thread
from lmtui.tui.engine.message_client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.inspector.source import InspectSource
from lmtui.tui.screen import SamplingScreen
from lmtui.tui.widgets.token_lines import EMPTY
from lmtui.tui.widgets.token_view import TokenView

AWAITED = "The text appears here once it is tokenized."
_LONGEST = 2_000_000
"""Characters: each takes some 250 bytes of memory, and 1,000 are read in a second."""


class GivenTextScreen(SamplingScreen):
    """Has a `TokenView`."""

    class Read(Message):
        """The text was read."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Refused(Message):
        """The text can't be shown."""

        def __init__(self, error: LmtuiError) -> None:
            self.error = error
            super().__init__()

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        subject: InspectSource,
        *,
        sampling: SamplingSettings,
    ) -> None:
        super().__init__(make_client, sampling=sampling)
        self._subject = subject
        self._text: str | None = None
        self._refusal: LmtuiError | None = None

    def on_mount(self) -> None:
        """Begin to read."""
        self.to_text()
        if self._subject.read is not None:
            self.view.explain(AWAITED)
            bug = LmtuiError(
                "the text can't be shown", self._subject.name, "See the log."
            )
            post_from_thread(self._read, self.post_message, otherwise=self.Refused(bug))

    def text_known(self) -> None:
        """Begin the work on the text, which is read now."""
        raise NotImplementedError

    @property
    def view(self) -> TokenView:
        """The tokens as they are drawn."""
        return self.query_one(TokenView)

    def to_text(self) -> None:
        """Focus the tokens."""
        self.view.focus()

    def tell_text(self) -> None:
        """Show in the status line how reading the text goes."""
        if self._refusal is not None:
            self._explain(self._refusal)
        elif self._text is None:
            self._status.state = f"reading {self._shown_name}"

    @property
    def _shown_name(self) -> str:
        return visible_line(self._subject.name)

    def _read(self) -> Message:
        assert self._subject.read is not None
        try:
            text = self._subject.read()
        except LmtuiError as error:
            return self.Refused(error)
        if len(text) > _LONGEST:
            count = f"{len(text):,} characters, at most {_LONGEST:,} are shown"
            hint = "`lmtui inspect --plain FILE` reads a text of any length."
            return self.Refused(LmtuiError("the text is too long", count, hint))
        return self.Read(text)

    @on(Read)
    def keep_text(self, event: Read) -> None:
        self._text = event.text
        self.view.show_text(event.text)
        self.text_known()

    @on(Refused)
    def show_refused(self, event: Refused) -> None:
        self._refusal = event.error
        self.view.explain(EMPTY)
        self._explain(event.error)

    def _explain(self, error: LmtuiError) -> None:
        self._status.state = visible_line(error.title)
        self._panel.clear(f"{error}. {error.hint}")

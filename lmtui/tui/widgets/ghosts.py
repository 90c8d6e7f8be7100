"""The life of a ghost: it grows, is typed along with, goes, and comes back.

Owns what is suggested at a cursor, and what was suggested at others. A ghost is told
apart by what it was asked for: a revision of the text, and a place in it. Knows no
widget, no engine and nothing of how a ghost is drawn.
"""

from __future__ import annotations

from collections import OrderedDict

from lmtui.engine.words import can_cut

AROUND = 256
"""Characters before and after a cursor that tell it apart from others."""
_KEPT = 64

Asked = tuple[int, int]
"""The revision of a text, and the place in it."""
Around = tuple[str, str]
"""What stands before a cursor and after it."""


class Ghosts:
    """The ghost at a cursor, and the last ones that were elsewhere."""

    def __init__(self) -> None:
        self.text = ""
        """What is suggested at the cursor now."""
        self._asked: Asked | None = None
        self._typed = ""
        """What was typed of it since it was asked for."""
        self._earlier: OrderedDict[Around, str] = OrderedDict()

    def show(self, text: str, *, asked: Asked, here: Asked, around: Around) -> bool:
        """Suggest `text`; False where what it was asked for is no longer true.

        It is still true where nothing but the ghost itself was typed since.
        """
        if asked == here:
            self._typed = ""
        elif asked != self._asked or not text.startswith(self._typed):
            return False
        self._asked = asked
        self.text = text[len(self._typed) :]
        self._keep(around)
        return True

    def edit(self, typed: str, around: Around) -> None:
        """The text was edited: `typed` was put in at the cursor and nothing else
        changed, or it is empty. `around` is what the cursor stands in now."""
        if typed and self.text.startswith(typed):
            self.text = self.text[len(typed) :]
            self._typed += typed
            self._keep(around)
            return
        self.drop()
        if around in self._earlier:
            self._earlier.move_to_end(around)
            self.text = self._earlier[around]

    def drop(self) -> None:
        """Suggest nothing, until it is asked again or the text is as it was."""
        self.text = self._typed = ""
        self._asked = None

    def dismiss(self, around: Around) -> None:
        """Suggest nothing, and not this again."""
        self.drop()
        self._earlier.pop(around, None)

    def forget(self) -> None:
        """Suggest nothing, and nothing of what was suggested before."""
        self.drop()
        self._earlier.clear()

    def _keep(self, around: Around) -> None:
        if not self.text:
            return
        self._earlier[around] = self.text
        self._earlier.move_to_end(around)
        if len(self._earlier) > _KEPT:
            self._earlier.popitem(last=False)


def first_word(text: str) -> str:
    """The beginning of a text up to the end of its first word, or of the signs that
    stand together there."""
    start = len(text) - len(text.lstrip()) + 1
    for place in range(start, len(text)):
        signs = _is_sign(text[place - 1]) and _is_sign(text[place])
        if can_cut(text, place) and not signs:
            return text[:place]
    return text


def first_line(text: str) -> str:
    """The beginning of a text up to the end of its line; of the next one, where it
    begins with a newline."""
    end = text.find("\n", 1)
    return text if end < 0 else text[:end]


def _is_sign(character: str) -> bool:
    return not (character.isalnum() or character.isspace())

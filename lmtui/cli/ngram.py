"""`--against ngram:N` and `--ngram-text`: an n-gram model to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lmtui.cli.output import read_document
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.models.source import ModelRef

HIGHEST_ORDER = 5
_PREFIX = "ngram:"
_ORDERS = range(HIGHEST_ORDER + 1)


@dataclass(frozen=True, slots=True)
class NgramRef:
    """N-gram model of some texts, over the tokens of the model beside it."""

    order: int
    """0 is the uniform model."""
    texts: tuple[TextSource, ...]

    @property
    def name(self) -> str:
        """The value of `--against`."""
        return f"{_PREFIX}{self.order}"

    def counts(self, text: str) -> bool:
        """Return whether it has counted exactly this text."""
        return self.order > 0 and any(
            counted_text.text == text for counted_text in self.texts
        )


ComparedRef = ModelRef | NgramRef


def ngram_ref(spec: str | None, files: Sequence[str]) -> NgramRef | None:
    """Return the n-gram model that `--against` names, with the texts of `files`, which
    are read; None where it names another model, or none."""
    if spec is None or not spec.startswith(_PREFIX):
        if files:
            raise LmtuiError(
                "--ngram-text needs an n-gram model",
                f"--against {spec}" if spec else "",
                f"Add --against {_PREFIX}3.",
            )
        return None
    order = _order(spec)
    if order and not files:
        raise LmtuiError(
            f"{spec} needs a text to count",
            "",
            "Add --ngram-text FILE, which may be repeated.",
        )
    return NgramRef(order, tuple(_texts(files)))


def _order(spec: str) -> int:
    number = spec.removeprefix(_PREFIX)
    if number in map(str, _ORDERS):
        return int(number)
    raise LmtuiError(
        "there is no such n-gram model",
        spec,
        f"Give {_PREFIX}1 (single tokens) to {_PREFIX}{HIGHEST_ORDER}, or {_PREFIX}0, "
        "for which all tokens are equally probable.",
    )


def _texts(files: Iterable[str]) -> Iterable[TextSource]:
    for name in files:
        document = read_document(name)
        if not document.text:
            hint = "Give a text that is like the one to compare."
            raise LmtuiError("there is nothing to count", f"{name} is empty", hint)
        yield document

"""`--against ngram:N` and `--ngram-text`: an n-gram model to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lmtui import cancellation
from lmtui.cli.output import read_document
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Candidate, Encoding, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.files import TextSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lmtui.engine.ngram_model import NgramModel

HIGHEST_ORDER = 5
_PREFIX = "ngram:"
_ORDERS = range(HIGHEST_ORDER + 1)


@dataclass(frozen=True, slots=True)
class CountedTexts:
    """Texts whose n-grams are counted."""

    order: int
    """Tokens of the longest n-grams; 0 is the uniform model."""
    texts: tuple[TextSource, ...]

    def have(self, document: TextSource) -> bool:
        """Return whether exactly this text is counted."""
        texts = [each.text for each in self.texts] if self.order else []
        return bool(document.text) and document.text in texts

    def count(self, engine: Engine) -> NgramModel:
        """Count their n-grams, over the tokens of a model."""
        from lmtui.engine.ngram_model import NgramModel

        encodings = [engine.encode(each.text) for each in self.texts]
        return NgramModel.count(
            [(*encoding.prefix, *encoding.ids) for encoding in encodings],
            order=self.order,
            vocabulary=engine.info.vocabulary,
        )


def ngram_name(order: int) -> str:
    """Return the value of `--against`."""
    return f"{_PREFIX}{order}"


def ngram_scores(
    ngrams: NgramModel, engine: Engine, encoding: Encoding, top_n: int
) -> Iterator[ScoredToken]:
    """Yield the score of each token of a text by an n-gram model over the tokens of
    `engine`, as `Engine.score` does."""
    import numpy as np

    ids = [*encoding.prefix, *encoding.ids]
    logprobs = ngrams.score(ids).tolist()
    tokens = engine.describe_tokens(encoding.ids)
    for index, token in enumerate(tokens, len(encoding.prefix)):
        cancellation.check()
        if not index:
            yield token
            continue
        before = ids[max(0, index - ngrams.order) : index]
        probs, entropy, varentropy = ngrams.row(before)  # [V]
        best = _best(probs, top_n)
        rows = zip(engine.describe_tokens(best), np.log(probs[best]), strict=True)
        yield replace(
            token,
            logprob=logprobs[index],
            rank=1 + int((probs > probs[token.id]).sum()),
            entropy=entropy,
            varentropy=varentropy,
            top=tuple(
                Candidate(row.id, row.text, row.bytes, float(logprob))
                for row, logprob in rows
            ),
        )


def _best(probs: NDArray[np.float64], count: int) -> list[int]:
    """Return the first `count` tokens by (-probability, id)."""
    count = min(count, len(probs))
    if not count:
        return []
    import numpy as np

    ids = np.flatnonzero(probs >= np.partition(probs, -count)[-count])
    first: list[int] = ids[(-probs[ids]).argsort(kind="stable")][:count].tolist()
    return first


def counted_texts(spec: str | None, files: Sequence[str]) -> CountedTexts | None:
    """Return what the n-gram model that `--against` names counts: the texts of `files`,
    which are read; None where it names another model, or none."""
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
    return CountedTexts(order, tuple(_texts(files)))


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

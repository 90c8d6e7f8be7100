"""Vocabulary of a model as llguidance reads it, made from the bytes of its tokens.

No tokenizer file is needed, so that models from GGUF files have one as well.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lmtui.engine.grammar.compile import compiled
from lmtui.engine.grammar.matcher import CompiledGrammar
from lmtui.engine.grammar.text import Grammar
from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_COMPILED = 8  # grammars that are cached
_SLICES = ["[a-z ]{1,10}", "[A-Za-z ]{1,10}"]
"""Texts of words: where a grammar allows all of them, their tokens are not looked at
one by one. llguidance's own slices are for strings of JSON."""
_BEFORE = "\x02"  # what no token joins to a text that follows


class GrammarVocabulary:
    """Tokens of one model, for which grammars are compiled. To make it takes about 0.2
    s for 49,152 tokens, and 0.1 s more if their bytes are not known yet."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, size: int) -> None:
        """`size` is the number of tokens that the model chooses from. Those that the
        tokenizer lacks are never allowed."""
        from llguidance import LLTokenizer, TokenizerWrapper

        self._size = size
        tokens = _Tokens(tokenizer, vocabulary, size)
        slices = [*_SLICES, *LLTokenizer.general_slices()]
        wrapped = TokenizerWrapper(tokens)
        self._tokenizer: LLTokenizer = LLTokenizer(wrapped, slices=slices)
        tokens.built = self._tokenizer
        self.compile = lru_cache(_COMPILED)(self._compile)
        """Function that compiles a grammar; see `_compile`."""

    def _compile(self, grammar: Grammar) -> CompiledGrammar:
        """Return the compiled grammar.

        Raises:
            LmtuiError: llguidance refuses it, or no token can begin a text of it.
        """
        matcher = compiled(grammar, self._tokenizer)
        tokenize = self._tokenizer.tokenize_bytes
        return CompiledGrammar(grammar, matcher, self._size, tokenize)


class _Tokens:
    """Tokens and tokenisation, under the names that llguidance looks up.

    One token more than the model has stands for the end of a text, which several of
    the model's own can mean, and not always the same ones.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, size: int) -> None:
        self._text = TextTokenizer(tokenizer)
        self._vocabulary = vocabulary
        self.built: LLTokenizer | None = None
        specials = [i for i in vocabulary.specials if i < size]
        self.tokens = [*map(vocabulary.bytes, range(size)), b"<end>"]
        self.special_token_ids = [*sorted(specials), size]
        self.eos_token_id = size
        self.bos_token_id = None

    def __call__(self, data: bytes) -> list[int]:
        """Return the tokens of a text within another: a tokenizer may put a space
        before the first word. Where they spell something else, since it changes the
        text, the longest tokens are taken from left to right."""
        text = data.decode()
        ids = self._text.read_from(f"{_BEFORE}{text}", 1, len(text) + 1).ids
        if b"".join(map(self._vocabulary.bytes, ids)) == data:
            return ids
        return self.built.greedy_tokenize(text) if self.built else []

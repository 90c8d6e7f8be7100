"""Grammars of settings, compiled for one model.

The vocabulary is read for the first one. Knows no prompt.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lmtui.engine.grammar.check import compile_check
from lmtui.engine.grammar.matcher import CompiledGrammar
from lmtui.engine.grammar.text import grammar_of
from lmtui.engine.grammar.vocabulary import GrammarVocabulary
from lmtui.engine.text.detokenizer import Vocabulary


class GrammarCompiler:
    """Compiles grammars, each once."""

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary, size: int) -> None:
        """`size` is the number of tokens that the model chooses from."""
        self._parts = tokenizer, vocabulary, size

    @cached_property
    def _vocabulary(self) -> GrammarVocabulary:
        return GrammarVocabulary(*self._parts)

    def compiled(self, setting: str) -> CompiledGrammar:
        """Return the grammar of a setting. It is compiled elsewhere first, where it can
        take neither the memory nor the time of this process.

        Raises:
            LmtuiError: llguidance is missing or refuses it, or it takes too much.
        """
        grammar = grammar_of(setting)
        compile_check(grammar)
        return self._vocabulary.compile(grammar)

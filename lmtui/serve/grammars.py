"""Fields of a request that give its answers a grammar.

`response_format` is OpenAI's, `structured_outputs` and `guided_…` are vLLM's, `grammar`
and `json_schema` are llama.cpp's. What of them can't be enforced is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from lmtui.engine.grammar.text import Grammar, rules_of
from lmtui.errors import LmtuiError

SchemaValue = dict[str, Any] | bool
_ANY_OBJECT = {"type": "object"}


class NamedSchema(BaseModel, strict=True, extra="ignore"):
    """The schema of a `response_format`."""

    # Its name and description go to models that are given the schema to read.
    value: SchemaValue = Field(alias="schema")


class ResponseFormat(BaseModel, strict=True, extra="forbid"):
    """OpenAI's `response_format`; llama.cpp's may have a schema of its own."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    value: SchemaValue | None = Field(default=None, alias="schema")

    @property
    def grammar(self) -> Grammar | None:
        """The grammar that it asks for; None for free text."""
        match self.type:
            case "text":
                return None
            case "json_object":
                return Grammar.of_schema(_ANY_OBJECT if self.value is None else
                                         self.value)  # fmt: skip
        value = self.value if self.json_schema is None else self.json_schema.value
        if value is None:
            raise LmtuiError("response_format has no json_schema with a schema")
        return Grammar.of_schema(value)


class StructuredOutputs(BaseModel, strict=True, extra="forbid"):
    """VLLM's `structured_outputs`."""

    value: str | SchemaValue | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool = False


class GrammarBody(BaseModel):
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    grammar: str | None = None
    json_schema: SchemaValue | None = None
    guided_json: str | SchemaValue | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None

    @property
    def follows(self) -> Grammar | None:
        """The grammar that the answers follow; None for free text."""
        grammars = list(self._grammars())
        if len(grammars) > 1:
            raise LmtuiError("an answer can follow one grammar only")
        return grammars[0] if grammars else None

    def _grammars(self) -> Iterator[Grammar]:
        if self.response_format is not None and (own := self.response_format.grammar):
            yield own
        given = self.structured_outputs or StructuredOutputs()
        for schema in (given.value, self.guided_json, self.json_schema):
            if isinstance(schema, str):
                yield Grammar("schema", schema)
            elif schema is not None:
                yield Grammar.of_schema(schema)
        for regex in (given.regex, self.guided_regex):
            if regex is not None:
                yield Grammar("regex", regex)
        for choices in (given.choice, self.guided_choice):
            if choices is not None:
                yield one_of(choices)
        # Clients of llama.cpp send an empty one for none.
        for rules in (given.grammar, self.guided_grammar, self.grammar or None):
            if rules is not None:
                yield rules_of(rules)
        if given.json_object:
            yield Grammar.of_schema(_ANY_OBJECT)


def one_of(choices: list[str]) -> Grammar:
    if not choices or "" in choices:
        raise LmtuiError("a choice needs one text or more, none of them empty")
    texts = (json.dumps(text, ensure_ascii=False) for text in choices)
    return Grammar("lark", f"start: {' | '.join(texts)}\n")

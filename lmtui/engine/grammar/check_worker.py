"""Process that compiles one grammar for another process, which limits and kills it.

A grammar of a few bytes can take minutes or gigabytes, or end the process that compiles
it. Reads the grammar from stdin and writes the outcome to stdout, both JSON. Its
vocabulary is the 256 bytes, so that it knows no model.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from contextlib import suppress
from typing import Any

from lmtui.engine.grammar.compile import compiled
from lmtui.engine.grammar.text import Grammar
from lmtui.errors import LmtuiError

_MEMORY = 1 << 30  # bytes of the process
_STACK = 4 << 20  # bytes, less than any thread has that compiles what passed here


class _Bytes:
    """Vocabulary of all bytes, under the names that llguidance looks up."""

    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)
    eos_token_id = 256
    bos_token_id = None

    def __call__(self, data: bytes) -> list[int]:
        return list(data)


def main() -> None:
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # some systems lack some limits
            resource.setrlimit(kind, (most, most))
    request = json.loads(sys.stdin.buffer.read())
    answer: dict[str, Any] = {}
    threading.stack_size(_STACK)
    thread = threading.Thread(target=lambda: answer.update(_outcome(request)))
    try:
        thread.start()
        thread.join()
    except RuntimeError as error:
        answer["limit"] = str(error)
    sys.stdout.write(json.dumps(answer))


def _outcome(request: dict[str, str]) -> dict[str, Any]:
    try:
        from llguidance import LLTokenizer, TokenizerWrapper

        grammar = Grammar(request["kind"], request["text"])  # type: ignore[arg-type]
        tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()))
        _, ignored = compiled(grammar, tokenizer)
    except LmtuiError as error:
        return {"refused": (error.title, error.detail, error.hint)}
    return {"ignored": ignored}


if __name__ == "__main__":
    main()

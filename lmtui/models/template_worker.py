"""`python -m lmtui.models.template_worker`: render chat templates for another process.

A template is foreign code, so that memory, processor time and output are limited. Each
line of stdin is a request and each line of stdout its answer, both JSON; the process
ends with its stdin. Knows no tokenizer and no model.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from jinja2.exceptions import (
    SecurityError,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
)

from lmtui.models import chat_template
from lmtui.models.template_limits import MEMORY, SECONDS, most_output

_compiled = lru_cache(maxsize=4)(chat_template.compiled)


def main() -> None:
    """Answer requests until stdin ends."""
    _send({"ready": True})
    while line := sys.stdin.buffer.readline():
        _limit(len(line))
        try:
            answer = _answer(json.loads(line), most_output(len(line)))
        except MemoryError:
            answer = {"failed": "it needs too much memory"}
        except (SecurityError, TemplateNotFound, TemplateSyntaxError) as error:
            answer = {"failed": f"it is damaged, or asks for what none may: {error}"}
        except (TemplateError, TypeError, ValueError) as error:
            answer = {"refused": str(error) or type(error).__name__}
        except Exception as error:  # a template can divide by zero, among much else
            answer = {"failed": f"{type(error).__name__}: {error}"}
        _send(answer)


def _answer(question: Mapping[str, Any], limit: int) -> dict[str, Any]:
    template = question["template"]
    if "variables" not in question:
        return {"names": sorted(chat_template.variables(template))}
    parts, length = [], 0
    for part in _compiled(template).generate(**question["variables"]):
        length += len(part)
        if length > limit:
            return {"failed": f"it writes more than {limit:,} characters"}
        parts.append(part)
    text = "".join(parts)
    text.encode()  # raises for a lone surrogate
    return {"text": text}


def _limit(size: int) -> None:
    """Set the limits for a request of `size` bytes."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    # in case the client does not kill it
    _set_soft_limit(resource.RLIMIT_CPU, int(used + SECONDS + 2))
    _set_soft_limit(resource.RLIMIT_AS, MEMORY + 32 * size)


def _set_soft_limit(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    with suppress(ValueError, OSError):  # some systems lack some limits
        resource.setrlimit(kind, (least, hard))


def _send(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

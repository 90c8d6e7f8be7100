"""Counters of the server as Prometheus reads them, by vLLM's names where they mean the
same."""

from __future__ import annotations

from collections import Counter

from lmtui.engine.types import GenerationResult, Step
from lmtui.serve.generation import GenerationEvent, PromptRead
from lmtui.serve.shapes import FINISH

TEXT_FORMAT = "text/plain; version=0.0.4"
_RUNNING, _WAITING = "num_requests_running", "num_requests_waiting"
_READ, _MADE = "prompt_tokens_total", "generation_tokens_total"
_ENDED = "request_success_total"
_MEANINGS = {
    _RUNNING: "Requests that have a place in the engine.",
    _WAITING: "Requests that wait for a place.",
    _READ: "Tokens of prompts that were read, from the cache or anew.",
    _MADE: "Tokens that were generated.",
    _ENDED: "Answers that ended, by the reason.",
}


class Metrics:
    """Totals of completions and chat completions since the server began."""

    def __init__(self) -> None:
        self._totals = Counter({_READ: 0, _MADE: 0})
        self._ends = Counter(dict.fromkeys(FINISH.values(), 0))

    def count(self, event: GenerationEvent) -> None:
        match event:
            case _, PromptRead(size=size):
                self._totals[_READ] += size
            case _, Step():
                self._totals[_MADE] += 1
            case _, GenerationResult(reason=reason):
                self._ends[FINISH[reason]] += 1

    def text(self, model: str, *, running: int, waiting: int) -> str:
        """Return all values; `running` and `waiting` are the requests of now."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        now = {_RUNNING: running, _WAITING: waiting, **self._totals}
        lines: list[str] = []
        for name, meaning in _MEANINGS.items():
            kind = "gauge" if name in (_RUNNING, _WAITING) else "counter"
            lines += f"# HELP vllm:{name} {meaning}", f"# TYPE vllm:{name} {kind}"
            by_reason = {f',finished_reason="{k}"': n for k, n in self._ends.items()}
            values = by_reason if name == _ENDED else {"": now[name]}
            for more, value in values.items():
                lines.append(f'vllm:{name}{{model_name="{escaped}"{more}}} {value}')
        return "".join(f"{line}\n" for line in lines)

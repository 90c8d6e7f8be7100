"""Counters of the server as Prometheus reads them, by vLLM's names where they mean the
same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lmtui.serve.generation import AnswerEnd, AnswerStep, GenerationEvent, PromptRead
from lmtui.serve.shapes import FINISH

TEXT_FORMAT = "text/plain; version=0.0.4"
_ENDS = sorted(set(FINISH.values()))


class Metrics:
    """Totals of completions and chat completions since the server began."""

    def __init__(self) -> None:
        self._prompt_tokens = self._generated_tokens = 0
        self._ends = Counter[str]()

    def count(self, event: GenerationEvent) -> None:
        match event:
            case PromptRead(size=size):
                self._prompt_tokens += size
            case AnswerStep():
                self._generated_tokens += 1
            case AnswerEnd(result=result):
                self._ends[FINISH[result.reason]] += 1

    def text(self, model: str, *, running: int, waiting: int) -> str:
        """Return all values; `running` and `waiting` are the requests of now."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        label = f'model_name="{escaped}"'
        ends = {f'{label},finished_reason="{name}"': self._ends[name] for name in _ENDS}
        lines = [
            *_metric("num_requests_running", "gauge", "Requests that have a place in "
                     "the engine.", {label: running}),
            *_metric("num_requests_waiting", "gauge", "Requests that wait for a place.",
                     {label: waiting}),
            *_metric("prompt_tokens_total", "counter", "Tokens of prompts that were "
                     "read, from the cache or anew.", {label: self._prompt_tokens}),
            *_metric("generation_tokens_total", "counter", "Tokens that were "
                     "generated.", {label: self._generated_tokens}),
            *_metric("request_success_total", "counter", "Answers that ended, by the "
                     "reason.", ends),
        ]  # fmt: skip
        return "".join(f"{line}\n" for line in lines)


def _metric(
    name: str, kind: str, meaning: str, values: dict[str, int]
) -> Iterator[str]:
    yield f"# HELP vllm:{name} {meaning}"
    yield f"# TYPE vllm:{name} {kind}"
    for labels, value in values.items():
        yield f"vllm:{name}{{{labels}}} {value}"

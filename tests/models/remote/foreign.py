"""Servers of other programs, as far as their answers are read, over a tiny model.

llama-server's shapes are those of a real one (its build of llama-cpp-python 0.3.36),
and vLLM's (0.32.0 on a CPU).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, ClassVar

import torch

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling.stages import STAGES, stages_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)

Json = dict[str, Any]

VLLM_ORDER = tuple(stage for stage in STAGES if stage != "min_p")
VLLM_ORDER = (*VLLM_ORDER[:3], "min_p", *VLLM_ORDER[3:])
"""The stages with min-p behind the temperature, before top-k."""


class Foreign(BaseHTTPRequestHandler):
    """A server of one of these programs; the class's attributes are set for each."""

    engine: ClassVar[LocalEngine]
    lock: ClassVar[Lock]
    asked: ClassVar[list[tuple[str, Json]]]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def do_GET(self) -> None:
        self.send(self.get(self.path))

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        self.asked.append((self.path, body))
        with self.lock:
            self.post(self.path, body)

    def get(self, path: str) -> Any:
        raise NotImplementedError

    def post(self, path: str, body: Json) -> None:
        raise NotImplementedError

    def send(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status if value is not None else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_events(self, events: Iterator[Any]) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.close_connection = True

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """Logprobs [V] after `ids`."""
        return self.engine.backend.logits(ids)[-1].double().log_softmax(-1)

    def drawn(self, ids: list[int], settings: Json, bias: Any) -> Iterator[Step]:
        """Draw as the model's own engine does."""
        sampling = SamplingSettings(**settings)
        prompt = Prompt(tuple(ids), "")
        items = self.engine.generate(prompt, sampling, logit_bias=bias)
        return (item for item in items if isinstance(item, Step))

    def tokens(self, text: str) -> list[int]:
        return list(self.engine.encode(text, bos="no").ids)


class LlamaServer(Foreign):
    """llama.cpp's server."""

    def get(self, path: str) -> Any:
        info = self.engine.info
        if path == "/props":
            settings = {"n_ctx": info.context, "params": {}}
            return {"default_generation_settings": settings, "model_path": "/none"}
        meta = {"n_vocab": info.vocabulary, "n_params": 9, "ftype": "F32"}
        return {"data": [{"id": "tiny", "owned_by": "llamacpp", "meta": meta}]}

    def post(self, path: str, body: Json) -> None:
        if path == "/tokenize":
            assert body["parse_special"] is False
            self.send({"tokens": self.tokens(body["content"])})
            return
        count = body["n_probs"]
        assert (body["mirostat"], body.get("min_keep", 0)) == (0, 0)
        bias = {
            i: -math.inf if value is False else float(value)
            for i, value in body["logit_bias"]
        }
        settings = {
            "temperature": body.get("temperature", 1.0),
            "top_k": body.get("top_k", 40),
            "top_p": body.get("top_p", 1.0),
            "min_p": body.get("min_p", 0.0),
            "seed": body.get("seed", 1),
            "max_tokens": body["n_predict"],
        }
        if body.get("stream"):  # an answer: nothing is left to what it was started with
            settings |= self._sampling(body)
        answers = [self._events(ids, count, settings, bias) for ids in body["prompt"]]
        if body.get("stream"):
            self.send_events(answers[0])
        elif len(answers) == 1:
            self.send(next(answers[0]))
        else:
            self.send([{**next(a), "index": i} for i, a in enumerate(answers)][::-1])

    def _sampling(self, body: Json) -> Json:
        assert body["repeat_last_n"] > 0 and body["dry_penalty_last_n"] > 0
        assert body["dry_sequence_breakers"] and body["dynatemp_range"] == 0
        same = (
            "presence_penalty",
            "frequency_penalty",
            "dry_multiplier",
            "dry_base",
            "dry_allowed_length",
            "typical_p",
            "xtc_probability",
            "xtc_threshold",
        )
        return {name: body[name] for name in same} | {
            "repetition_penalty": body["repeat_penalty"],
            "penalty_window": body["repeat_last_n"],
            "dry_window": body["dry_penalty_last_n"],
            "dry_breakers": tuple(body["dry_sequence_breakers"]),
            "top_n_sigma": max(0, body["top_n_sigma"]),
            "sampler_order": stages_of(body["samplers"])[0],
        }

    def _events(self, ids: list[int], count: int, settings: Json, bias: Any) -> Any:
        for step in self.drawn(list(ids), settings, bias):
            logprobs = self.logprobs(ids)
            top = [self._token(i, logprobs) for i in logprobs.topk(count).indices]
            found = {**self._token(step.id, logprobs), "top_logprobs": top}
            yield {"tokens": [step.id], "completion_probabilities": [found]}
            ids.append(step.id)
        yield {"stop": True, "tokens": [], "content": ""}

    def _token(self, token: Any, logprobs: torch.Tensor) -> Json:
        (known,) = self.engine.describe_tokens([int(token)])
        return {
            "id": known.id,
            "token": known.text,
            "bytes": list(known.bytes),
            "logprob": float(logprobs[known.id]),
        }


class Vllm(Foreign):
    """vLLM's server, with what it refuses; fields that it does not know it passes
    over."""

    most: ClassVar[int] = 100
    """Its `--max-logprobs`."""
    lacks: ClassVar[tuple[str, ...]] = ()
    """Fields of requests that it does not know."""

    def get(self, path: str) -> Any:
        card = {"owned_by": "vllm", "root": "/none", "parent": None}
        card["max_model_len"] = self.engine.info.context
        names = [card | {"id": "first"}, card | {"id": "second"}]
        tuned = {"id": "tuned", "root": "/adapter", "parent": "first"}
        return {"data": [*names, card | tuned | {"max_model_len": None}]}

    def post(self, path: str, body: Json) -> None:
        if path == "/tokenize":
            self.send({"tokens": self.tokens(body["prompt"])})
            return
        body = {name: body[name] for name in body if name not in self.lacks}
        prompts = body["prompt"]
        if words := self._refusal(prompts, body):
            self.send({"error": {"message": words, "code": 400}}, 400)
            return
        # Every answer has the first name, but for an adapter's.
        name = body["model"] if body["model"] == "tuned" else "first"
        if body.get("stream"):
            events = self._events(prompts[0], body)
            self.send_events({"model": name, **event} for event in events)
            return
        found = [self._choice(index, ids, body) for index, ids in enumerate(prompts)]
        self.send({"model": name, "choices": found[::-1]})

    def _refusal(self, prompts: list[list[int]], body: Json) -> str:
        listed = max(body["logprobs"], body.get("prompt_logprobs", 0))
        if listed > self.most:
            return f"Requested {listed}, which is greater than max allowed"
        if len(body.get("logprob_token_ids", ())) > 128:
            return "Requested logprob_token_ids is greater than max allowed: 128"
        room = self.engine.info.context - max(map(len, prompts))
        return "" if room > 0 else "max_tokens must be at least 1, got 0."

    def _steps(self, ids: list[int], body: Json) -> list[Step]:
        same = "temperature", "top_p", "min_p", "repetition_penalty"
        same += "presence_penalty", "frequency_penalty", "seed"
        settings = {name: body[name] for name in same if name in body} | {
            "top_k": max(0, body.get("top_k", 0)),
            "max_tokens": min(body["max_tokens"], self.engine.info.context - len(ids)),
            "sampler_order": VLLM_ORDER,
            "grammar": _grammar(**body.get("structured_outputs", {})),
        }
        bias = {int(i): value for i, value in body.get("logit_bias", {}).items()}
        return list(self.drawn(list(ids), settings, bias))

    def _events(self, ids: list[int], body: Json) -> Any:
        """Two tokens an event, and at last their number, as with some of its flags."""
        steps = self._steps(ids, body)
        for start in range(0, len(steps), 2):
            part = steps[start : start + 2]
            rows = [self._row(ids + _ids(steps[: s.index]), s.id, body) for s in part]
            reason = "stop" if start + 2 >= len(steps) else None
            yield {"choices": [_joined(rows) | {"finish_reason": reason}]}
        yield {"choices": [], "usage": {"completion_tokens": len(steps)}}

    def _choice(self, index: int, ids: list[int], body: Json) -> Json:
        (step,) = self._steps(ids, body)
        rows = [self._row(ids, step.id, body)]
        if body.get("echo"):
            read = range(1, len(ids))
            rows[:0] = [self._row(ids[:end], ids[end], body) for end in read]
            rows[:0] = [{self.name(ids[0]): None}]
        found = _joined(rows)
        if "prompt_logprobs" in body:
            found["prompt_logprobs"] = self._scores(ids, body["prompt_logprobs"])
        return {**found, "index": index, "text": step.piece}

    def _row(self, before: list[int], token: int, body: Json) -> Json:
        logprobs = self.logprobs(before)
        if "structured_outputs" in body:  # they are of what the grammar allows
            return {self.name(token): 0.0}
        asked = body.get("logprob_token_ids")
        shown = logprobs.topk(body["logprobs"])[1].tolist() if asked is None else asked
        ids = [token, *shown]
        return {self.name(i): max(-9999.0, float(logprobs[i])) for i in ids}

    def name(self, token: int) -> str:
        return f"token_id:{token}"

    def _scores(self, ids: list[int], count: int) -> list[Json | None]:
        found: list[Json | None] = [None]
        for end in range(1, len(ids)):
            logprobs = self.logprobs(ids[:end])
            found.append(
                {
                    str(i): {
                        "logprob": float(logprobs[i]),
                        # Those that are as probable count, too, also itself.
                        "rank": int((logprobs >= logprobs[i]).sum()),
                    }
                    for i in {ids[end], *logprobs.topk(count).indices.tolist()}
                }
            )
        return found


def _grammar(
    choice: Any = (), regex: Any = None, json: Any = None, grammar: Any = None
) -> str | None:
    """The setting for vLLM's `structured_outputs`."""
    texts = [*choice] if regex is None else [regex]
    return f"/{'|'.join(texts)}/" if texts else json or grammar


def _ids(steps: list[Step]) -> list[int]:
    return [step.id for step in steps]


def _joined(rows: list[Json]) -> Json:
    """The `logprobs` of tokens, given the row of each, in which it is the first."""
    own = [next(iter(row)) for row in rows]
    values = [row[name] for name, row in zip(own, rows, strict=True)]
    logprobs = {"tokens": own, "token_logprobs": values, "top_logprobs": rows}
    return {"text": "", "logprobs": logprobs}


@contextmanager
def foreign(kind: type[Foreign], engine: LocalEngine) -> Iterator[Any]:
    """Run such a server; yields its address and what it was asked."""
    own = type(kind.__name__, (kind,), {"engine": engine, "lock": Lock(), "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", own.asked
        server.shutdown()
        thread.join(20)

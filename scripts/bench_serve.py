"""`lmtui serve` against the engine itself, and against llama-cpp-python's server.

Servers run as processes; clients are threads of this one, which share the cores with
them. Both servers have the same file open, as many threads, and get the same requests.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import torch
from bench_fast import llama_python
from bench_tools import compare, row

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)

CLIENTS = 8
PROMPTS = 100
_LENGTH = 128  # tokens of each, about
_EXTRAS = (
    "fastapi",
    "pydantic-settings",
    "pyyaml",
    "sse-starlette",
    "starlette-context",
    "uvicorn",
)
_STORY = "Write a long story about a lighthouse keeper who learns to paint."


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@contextmanager
def _server(command: list[str], port: int, **variables: str) -> Iterator[int]:
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | variables,
    ) as process:
        try:
            while True:
                try:
                    with socket.create_connection(("127.0.0.1", port), 1):
                        break
                except OSError:
                    if process.poll() is not None:
                        raise RuntimeError(f"{command[2]} ended") from None
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()


@contextmanager
def ours(file: Path) -> Iterator[int]:
    """The port of our server."""
    port = _free_port()
    command = [sys.executable, "-P", "-m", "lmtui", "serve", "--port", str(port)]
    with _server([*command, "--model", str(file)], port) as found:
        yield found


@contextmanager
def peers(python: str, file: Path) -> Iterator[int]:
    """The port of the peer's server."""
    subprocess.run(
        [python, "-P", "-m", "pip", "install", "--quiet", *_EXTRAS], check=True
    )
    port, threads = _free_port(), str(torch.get_num_threads())
    command = [
        python,
        "-P",
        "-m",
        "llama_cpp.server",
        "--model",
        str(file),
        "--n_ctx",
        "4096",
    ]
    command += ["--n_threads", threads, "--n_threads_batch", threads]
    command += ["--logits_all", "true", "--port", str(port)]
    with _server(command, port) as found:
        yield found


def complete(port: int, **body: object) -> Any:
    """The answer to a completion."""
    client = HTTPConnection("127.0.0.1", port, timeout=600)
    data = json.dumps({"temperature": 0} | body)
    headers = {"Content-Type": "application/json"}
    client.request("POST", "/v1/completions", data, headers)
    reply = client.getresponse()
    found = reply.read()
    client.close()
    if reply.status != 200:
        raise RuntimeError(found.decode()[:500])
    return found if body.get("stream") else json.loads(found)


def _generated(answer: Any) -> int:
    return int(answer["usage"]["completion_tokens"])


def one_stream(port: int, tokens: int, logprobs: int | None) -> float:
    """Tokens a second of one streamed answer, from the request to its end."""
    start = time.perf_counter()
    said = complete(
        port,
        prompt=_STORY,
        max_tokens=tokens,
        stream=True,
        logprobs=logprobs,
        stream_options={"include_usage": True},
    )
    taken = time.perf_counter() - start
    usage = json.loads(said.decode().split("\n\n")[-3].removeprefix("data: "))
    return _generated(usage) / taken


def in_process(engine: LocalEngine, tokens: int, top_n: int) -> float:
    """The same by the engine, without a server."""
    settings = SamplingSettings(temperature=0, max_tokens=tokens)
    start = time.perf_counter()
    prompt = Prompt(engine.encode(_STORY).ids, _STORY)
    made = sum(
        isinstance(s, Step) for s in engine.generate(prompt, settings, top_n=top_n)
    )
    return made / (time.perf_counter() - start)


def many_clients(port: int, tokens: int) -> float:
    """Tokens a second of all clients together, each with its own prompt."""

    def ask(index: int) -> int:
        prompt = f"Chapter {index}. {_STORY}"
        return _generated(complete(port, prompt=prompt, max_tokens=tokens, logprobs=20))

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        made = sum(pool.map(ask, range(CLIENTS)))
    return made / (time.perf_counter() - start)


def evaluation(port: int, prompts: list[str]) -> float:
    """Prompts a second, as lm_eval sends them: the likelihood of each token, and one
    token more. As texts, since the peer takes no ids."""
    start = time.perf_counter()
    for prompt in prompts:
        answer = complete(
            port, prompt=prompt, echo=True, logprobs=1, max_tokens=1, seed=1234
        )
        scored = answer["choices"][0]["logprobs"]["token_logprobs"]
        assert abs(len(scored) - _LENGTH) < _LENGTH // 4
    return len(prompts) / (time.perf_counter() - start)


def texts(engine: LocalEngine, count: int) -> Iterator[list[str]]:
    """Lists of different texts, of about as many tokens each."""
    source = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    ids = engine.encode(source).ids
    start = 0
    while True:
        found = []
        for _ in range(count):
            start = (start + 37) % (len(ids) - _LENGTH)
            tokens = engine.describe_tokens(ids[start : start + _LENGTH])
            data = b"".join(token.bytes for token in tokens)
            found.append(data.decode(errors="ignore"))
        yield found


def print_serve(engine: LocalEngine, file: Path, options: Namespace) -> None:
    """The table of the server; `engine` has the file open as the server has."""
    tokens, rounds = 4 * options.tokens, options.rounds
    prompts = PROMPTS // rounds  # of a round
    if options.quick:
        tokens, prompts = options.tokens, PROMPTS // 10
    given = texts(engine, prompts)
    print("\n| the server | lmtui | peer | ratio |\n|---|---|---|---|")
    with ours(file) as port:
        for what, asked in (("one stream", None), ("one stream, logprobs=20", 20)):
            result = compare(
                lambda n=asked: one_stream(port, tokens, n),
                lambda n=asked: in_process(engine, tokens, n or 1),
                rounds,
            )
            row(f"{what} / the engine itself", result, "tokens/s")
        with llama_python(options.llama) as python, peers(python, file) as other:
            result = compare(
                lambda: many_clients(port, tokens // 4),
                lambda: many_clients(other, tokens // 4),
                rounds,
            )
            row(f"{CLIENTS} clients, logprobs=20 / llama.cpp", result, "tokens/s")
            result = compare(
                lambda: evaluation(port, next(given)),
                lambda: evaluation(other, next(given)),
                rounds,
            )
            what = f"{rounds * prompts} prompts as lm_eval / llama.cpp"
            row(what, result, "prompts/s")

"""Speed as ratios: this program against plain transformers, in the same run.

Every pair is run in turn, A B A B …, after a warm-up that is not counted; the table
shows medians of the ratios, because the speed of a machine drifts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from bench_chats import print_chats
from bench_families import print_families
from bench_fast import print_busy, print_fast
from bench_fidelity import print_fidelity_of_types
from bench_inspect import print_inspect
from bench_inspector import print_inspector
from bench_large import print_large
from bench_proofreading import print_proofreading
from bench_remote import print_remote
from bench_sampler import print_sampler
from bench_serve import print_serve
from bench_suggestions import print_suggestions
from bench_tools import Work, compare, in_terminal, measured_by, row
from bench_train import print_training
from bench_why import print_why
from bench_writing import machine, print_editor, print_pairs
from transformers import TextIteratorStreamer

from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.prompt_lookup import PromptLookup
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.kernels import cpu_features
from lmtui.models.download import default_model
from lmtui.models.load import load
from lmtui.models.loaded_model import LoadedModel

PARTS = (
    "editor",
    "suggestions",
    "engine",
    "inspect",
    "sampler",
    "fast",
    "busy",
    "large",
    "families",
    "serve",
    "remote",
    "fidelity",
    "speculation",
    "inspector",
    "chat",
    "history",
    "proofreading",
    "why",
    "training",
)
"""What is measured, in this order: threads slow what runs after them."""
QUESTION = "Write a long story about a lighthouse keeper who learns to paint."


def our_decode(
    engine: LocalEngine,
    prompt: Prompt,
    settings: SamplingSettings,
    *,
    read: bool = False,
) -> float:
    """Tokens a second with every statistic, prompt included; with `read` it was read
    before."""
    engine.cache.reset()
    if read:
        engine.cache.read(prompt.ids)
    start = time.perf_counter()
    steps = sum(isinstance(s, Step) for s in engine.generate(prompt, settings))
    return steps / (time.perf_counter() - start)


def bare_decode(engine: LocalEngine, prompt: Prompt, tokens: int) -> float:
    """The same loop over the same cache with an argmax and nothing else."""
    cache = engine.cache
    cache.reset()
    start = time.perf_counter()
    cache.read(prompt.ids)
    for done in range(tokens):
        assert cache.logits is not None
        token = int(cache.logits.argmax())
        if done < tokens - 1:
            cache.extend([token])
    return tokens / (time.perf_counter() - start)


def library_decode(loaded: LoadedModel, prompt: Prompt, tokens: int) -> float:
    """`model.generate` in a thread, read through a `TextIteratorStreamer`."""
    streamer = TextIteratorStreamer(loaded.tokenizer, skip_prompt=True)
    inputs = torch.tensor([prompt.ids], device=loaded.device)
    options = {
        "input_ids": inputs,
        "attention_mask": torch.ones_like(inputs),
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "do_sample": False,
        "streamer": streamer,
    }
    start = time.perf_counter()
    worker = threading.Thread(target=loaded.model.generate, kwargs=options)
    worker.start()
    for _ in streamer:
        pass
    worker.join()
    return tokens / (time.perf_counter() - start)


def our_score(engine: LocalEngine, ids: tuple[int, ...]) -> float:
    """Tokens a second with logprob, rank and entropy of every token."""
    start = time.perf_counter()
    count = sum(1 for _ in engine.score(ids))
    return count / (time.perf_counter() - start)


@torch.inference_mode()
def bare_forward(loaded: LoadedModel, ids: tuple[int, ...]) -> float:
    """Tokens a second of one forward with all its logits, nothing done with them."""
    start = time.perf_counter()
    loaded.model(torch.tensor([ids]), use_cache=False)
    return len(ids) / (time.perf_counter() - start)


PEER_START = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, text = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
ids = tokenizer.apply_chat_template([{"role": "user", "content": text}],
    add_generation_prompt=True, return_tensors="pt")
out = model.generate(**ids, max_new_tokens=1, do_sample=False)
print(tokenizer.decode(out[0, -1]), flush=True)
"""


def until_first_byte(command: list[str]) -> float:
    """1 / seconds from the start of a process to its first byte on stdout."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        taken = time.perf_counter() - start
        process.stdout.read()
    return 1 / taken


def longest_stop(engine: LocalEngine, delays: tuple[float, ...]) -> float:
    """Seconds from a request to stop until a long prompt is no longer read: the
    longest over requests after these delays."""
    ids = tuple(100 + i % 1000 for i in range(engine.info.context - 100))
    waits = []
    for delay in delays:
        engine.cache.reset()
        asked = threading.Event()
        timer = threading.Timer(delay, asked.set)
        timer.start()
        prompt = Prompt(ids, "")
        with cancelled_when(asked.is_set):
            (finish,) = engine.generate(prompt, SamplingSettings())
        assert isinstance(finish, GenerationResult)
        waits.append(finish.prompt_seconds - delay)
        timer.join()
    return max(waits)


def slowest_preview(engine: LocalEngine, prompt: Prompt) -> float:
    """Seconds for a page of the ranking: the slowest median over these settings."""
    handle = engine.next_distribution(prompt.ids, SamplingSettings()).handle
    everything = SamplingSettings(top_k=0, top_p=1, min_p=0)
    pages = [(SamplingSettings(), 0), (everything, 0), (everything, 20_000)]
    medians = []
    for settings, first in pages:
        times = []
        for _ in range(20):
            start = time.perf_counter()
            engine.preview(handle, settings, start=first)
            times.append(time.perf_counter() - start)
        medians.append(median(times))
    return max(medians)


PEER_SCREEN = """
from textual.app import App
from textual.widgets import Footer, Header, Static, TextArea
class Small(App):
    def compose(self):
        yield from (Header(), Static("ready"), TextArea(), Footer())
Small().run()
"""


def until_first_frame(command: list[str]) -> float:
    """1 / seconds from the start of a process to its first full screen."""
    start = time.perf_counter()
    child, terminal = in_terminal(command)
    written = 0
    while written < 2_000 and (part := os.read(terminal, 65_536)):
        written += len(part)
    taken = time.perf_counter() - start
    child.kill()
    child.wait()
    os.close(terminal)
    return 1 / taken


def print_screen(model: str | None, rounds: int, tokens: int) -> None:
    """The table of what the screen costs."""
    ours = [sys.executable, "-P", "-m", "lmtui", "chat"]
    ours += ["--model", model] if model else []
    peer = [sys.executable, "-P", "-c", PEER_SCREEN]
    frames = compare(
        lambda: until_first_frame(ours), lambda: until_first_frame(peer), rounds
    )
    given = (model or "", str(rounds), str(tokens))
    measured = measured_by("bench_screen.py", *given)
    on, off, nothing = zip(*measured["rates"], strict=True)
    print("\n| on the screen | lmtui | peer | ratio |\n|---|---|---|---|")
    row("process start → first frame / a small Textual program", frames, "s")
    for what, mine, theirs in (
        ("decode, panel shown / hidden", on, off),
        ("decode, drawn / not drawn at all", on, nothing),
    ):
        ratio = median(a / b for a, b in zip(mine, theirs, strict=True))
        row(what, (median(mine), median(theirs), ratio), "tokens/s")
    print(
        f"\nWhile an answer streams, the screen's thread takes {measured['share']:.1%} "
        f"of a core, and 95 of 100 times the event loop comes back at most "
        f"{measured['lag_ms']:.1f} ms late; from the slider to the bars: "
        f"{measured['slider_ms']:.0f} ms; from a key in the prompt to the panel, after "
        f"500 tokens: {measured['draft_ms']:.0f} ms; drawing a batch at the end of "
        f"4,000 tokens: {measured['long_ms']:.1f} ms."
    )


_PAGE = 256  # tokens of an answer long enough to repeat something


def print_speculation(engine: LocalEngine, options: Namespace) -> None:
    """The table of what guesses at the next tokens win, and lose."""
    root = Path(__file__).parent.parent
    page = (root / "README.md").read_text(encoding="utf-8")[:3_000]
    code = (root / "lmtui/engine/windows.py").read_text(encoding="utf-8")
    told = f"Repeat this code, but call the class Frames:\n\n```python\n{code}```"
    changed = code + code[:900].replace("Windows", "Frames")
    prompts = {
        "Markdown written again": Prompt(engine.encode(page + page[:300]).ids, ""),
        "code written again with another name": Prompt(engine.encode(changed).ids, ""),
        "a change of code, asked for": engine.prompt([ChatTurn("user", told)]),
        "a story": engine.prompt([ChatTurn("user", QUESTION)]),
    }
    print("\n| decode, guesses on / off | on | off | ratio |\n|---|---|---|---|")
    for what, prompt in prompts.items():
        for heat in (0.0, 0.8):
            drawn = SamplingSettings(
                temperature=heat, seed=1, max_tokens=max(options.tokens, _PAGE)
            )
            result = compare(
                lambda p=prompt, s=drawn: our_decode(engine, p, s, read=True),
                lambda p=prompt, s=drawn: unguessed(engine, p, s),
                options.rounds,
            )
            row(f"{what}, temperature {heat:g}", result, "tokens/s")


def unguessed(engine: LocalEngine, prompt: Prompt, settings: SamplingSettings) -> float:
    """Tokens a second where nothing is guessed."""
    guess = PromptLookup.guess
    PromptLookup.guess = lambda self, limit: ()  # type: ignore[method-assign]
    try:
        return our_decode(engine, prompt, settings, read=True)
    finally:
        PromptLookup.guess = guess  # type: ignore[method-assign]


def print_engine(engine: LocalEngine, loaded: LoadedModel, options: Namespace) -> None:
    """The table of what the engine does."""
    prompt = engine.prompt([ChatTurn("user", QUESTION)])
    greedy = SamplingSettings(temperature=0, max_tokens=options.tokens)
    drawn = SamplingSettings(seed=1, max_tokens=options.tokens)
    source = Path(__file__).read_text(encoding="utf-8") * 4
    window = engine.encode(source).ids[: engine.info.windows().window]
    print("\n| what | lmtui | peer | ratio |\n|---|---|---|---|")
    pairs: list[tuple[str, Work, Work, str]] = [
        # The one with a second thread comes last: threads slow what runs after them.
        (
            f"score {len(window):,} tokens / bare forward",
            lambda: our_score(engine, window),
            lambda: bare_forward(loaded, window),
            "tokens/s",
        ),
        (
            "decode, statistics and sampling on / bare loop with argmax",
            lambda: our_decode(engine, prompt, drawn),
            lambda: bare_decode(engine, prompt, options.tokens),
            "tokens/s",
        ),
        (
            "decode with all statistics / model.generate with a streamer",
            lambda: our_decode(engine, prompt, greedy),
            lambda: library_decode(loaded, prompt, options.tokens),
            "tokens/s",
        ),
    ]
    for what, ours, peer, unit in pairs:
        row(what, compare(ours, peer, options.rounds), unit)
    stop = longest_stop(engine, (0.15, 0.4, 0.9, 1.7, 3.1, 5.3))
    print(
        f"\nLongest wait for a stop while a long prompt is read: {stop * 1e3:.0f} ms."
    )
    preview = slowest_preview(engine, prompt)
    print(f"Slowest preview of a position under new settings: {preview * 1e3:.1f} ms.")


def print_generate(fast: LocalEngine, loaded: LoadedModel, options: Namespace) -> None:
    """The fast path against the library's own loop, and its start."""
    prompt = fast.prompt([ChatTurn("user", QUESTION)])
    greedy = SamplingSettings(temperature=0, max_tokens=options.tokens)
    print("\n| fast path / transformers | lmtui | peer | ratio |\n|---|---|---|---|")
    result = compare(
        lambda: our_decode(fast, prompt, greedy),
        lambda: library_decode(loaded, prompt, options.tokens),
        options.rounds,
    )
    row("decode with all statistics / model.generate", result, "tokens/s")
    start = [
        sys.executable,
        "-P",
        "-m",
        "lmtui",
        "chat",
        "--once",
        "Hi",
        "--max-tokens",
        "1",
    ]
    start += ["--model", options.model] if options.model else []
    other = [sys.executable, "-P", "-c", PEER_START, str(loaded.folder), "Hi"]
    result = compare(
        lambda: until_first_byte(start), lambda: until_first_byte(other), options.rounds
    )
    row("process start → first token", result, "s")


def source_of(model: str | None) -> Path:
    """The file that the peer opens."""
    return default_model.default_file() if model is None else Path(model)


def parsed() -> Namespace:
    """What was asked for on the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="as for lmtui; the default model without it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64, help="tokens to decode")
    parser.add_argument(
        "--only",
        type=lambda said: said.split(","),
        default=PARTS,
        metavar="PARTS",
        help=f"some of {','.join(PARTS)}",
    )
    parser.add_argument(
        "--llama", metavar="PYTHON", help="of an environment with llama-cpp-python"
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        type=Path,
        help="a GGUF file that fidelity measures as well; may be repeated",
    )
    parser.add_argument(
        "--quick", action="store_true", help="one round, and one text in the editor"
    )
    options = parser.parse_args()
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if options.quick:
        options.rounds = 1
    return options


def main() -> None:
    """Measure everything, or some parts, and print the tables."""
    cpu_features.limit_libraries()  # torch reads it at its first operation
    options = parsed()
    loaded = load(options.model)
    engine = LocalEngine(loaded)
    fast = LocalEngine(load(options.model, quantize="auto"))
    print(f"{engine.info.model}, {engine.info.device}, {engine.info.dtype}, ", end="")
    print(f"torch {torch.__version__}; {machine()}")
    source, rounds = source_of(options.model), options.rounds

    def editor() -> None:
        print_pairs(engine, loaded, rounds)
        print_editor(options.model, rounds=rounds, quick=options.quick)

    def fast_path() -> None:
        print_fast(fast, engine, peer=source, options=options)
        print_generate(fast, loaded, options)  # threads slow what runs after them

    printers: dict[str, Callable[[], object]] = {
        "editor": editor,
        "suggestions": lambda: print_suggestions(fast, quick=options.quick),
        "proofreading": lambda: print_proofreading(fast),
        "engine": lambda: print_engine(engine, loaded, options),
        "inspect": lambda: print_inspect(
            engine, loaded, model=options.model, rounds=rounds
        ),
        "fast": fast_path,
        "busy": lambda: print_busy(fast, peer=source, options=options),
        "large": lambda: print_large(options),
        "families": lambda: print_families(options),
        "sampler": lambda: print_sampler(fast, source, options),
        "serve": lambda: print_serve(fast, source, options),
        "remote": lambda: print_remote(fast, source, options),
        "fidelity": lambda: print_fidelity_of_types(options),
        "speculation": lambda: print_speculation(fast, options),
        "inspector": lambda: print_inspector(options.model),
        "chat": lambda: print_screen(options.model, rounds, options.tokens),
        "history": print_chats,
        "why": lambda: print_why([engine, fast], rounds),
        "training": lambda: print_training(options.model, rounds=min(rounds, 3)),
    }
    for part in PARTS:
        if part in options.only:
            printers[part]()


if __name__ == "__main__":
    main()

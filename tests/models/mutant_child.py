"""`python -m tests.models.mutant_child FOLDER FIRST COUNT`: try mutants, some together.

Each is opened, read and continued by a process that is forked of this one, which has
imported everything. A process tries fifty, within the limits of one; where anything is
wrong, each of them is tried again in a process of its own. A line of JSON on stdout
tells how each ended: `fine`, `refused`, or what must not be: `bug`, `crash`, `hang`,
`memory`.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads can't be forked
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RUST_BACKTRACE"] = "0"

TOGETHER = 50  # mutants that a process tries
SECONDS = 10  # of the processor, for one mutant
WAIT = 60  # s on a machine that does other things, too
SPARE = 256 * 2**20
TEXT = "the quick fox aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"


def attempt(place: Path, *, chats: bool) -> None:
    """Open a model in the way of a verb, read a text and go on; or import an
    adapter."""
    from lmtui.engine.engine import LocalEngine
    from lmtui.engine.sampling_settings import SamplingSettings
    from lmtui.engine.types import (
        ChatTurn,
        Prompt,
    )
    from lmtui.models.adapters.import_adapter import import_adapter

    if place.stem == "adapter":
        import_adapter(place, place.parent.name)
        return
    engine = LocalEngine.open(
        str(place), device="cpu", threads=1, quantize="auto" if chats else "none"
    )
    ids = engine.encode(TEXT).ids
    list(engine.score(ids[:12], prefix=ids[:1], top_n=3))
    settings = SamplingSettings(max_tokens=3)
    prompt = engine.prompt([ChatTurn("user", "Hi")]) if chats else Prompt(ids[:4], "")
    list(engine.generate(prompt, settings))


def try_each(seeds: Sequence[int], folder: Path, result: int) -> None:
    """Make mutants and try them; what happened goes into a pipe, in lines."""
    from lmtui.errors import LmtuiError
    from tests.models import mutations

    bases = read_bases(folder)

    def tell(**facts: Any) -> None:
        os.write(result, json.dumps({"seed": seed, **facts}).encode() + b"\n")

    for seed in seeds:
        try:
            place = mutations.mutated(seed, bases, folder / f"mutant-{seed}")
            files = [file for file in (place, *place.rglob("*")) if file.is_file()]
            tell(size=sum(file.stat().st_size for file in files))
            attempt(place, chats=seed % 3 != 0)
            tell(end="fine")
        except LmtuiError as error:
            tell(end="refused", why=error.title, detail=error.detail[:200])
        except BaseException as error:
            tell(end="bug", why=repr(error)[:300], detail=traceback.format_exc())
        remove(seed, folder)


def remove(seed: int, folder: Path) -> None:
    """Remove a mutant, and what was made of it."""
    shutil.rmtree(folder / f"mutant-{seed}", ignore_errors=True)
    for part in ("cache/packed", "cache/gguf", "adapters"):
        home = Path(os.environ["LMTUI_HOME"]) / part
        shutil.rmtree(home, ignore_errors=True)


def read_bases(folder: Path) -> Any:
    from tests.models.mutations import KINDS, Bases

    files = tuple(folder / f"{kind}.gguf" for kind in KINDS)
    return Bases(files, (folder / "plain", folder / "brief"), folder / "adapter")


def forked(seeds: Sequence[int], folder: Path) -> tuple[list[dict[str, Any]], int]:
    """How mutants end in one process, and the memory that it took."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        try:
            try_each(seeds, folder, theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    status, used = _waited(child)
    with os.fdopen(ours, "rb") as read:
        told = [json.loads(line) for line in read]
    found: list[dict[str, Any]] = [{"seed": seed} for seed in seeds]
    for each in found:
        for facts in told:
            each |= facts if facts["seed"] == each["seed"] else {}
        remove(each["seed"], folder)
        if "end" not in each:
            number = os.WTERMSIG(status)
            hung = number in (signal.SIGXCPU, signal.SIGKILL)
            each |= {"end": "hang" if hung else "crash", "why": f"signal {number}"}
    return found, used.ru_maxrss * 1024


def judged(seeds: Sequence[int], folder: Path, idle: int) -> list[dict[str, Any]]:
    """How mutants end: in one process if all is right there, otherwise each alone."""
    found, rss = forked(seeds, folder)
    for each in found:
        if rss > idle + 2 * each.get("size", 0) + SPARE:
            each |= {"end": "memory", "rss": rss, "idle": idle}
    if harmless(found) or len(seeds) == 1:
        return found
    alone = [each for seed in seeds for each in judged([seed], folder, idle)]
    # Time and memory add up in a process of several; nothing else is forgiven.
    broken = any(each["end"] in ("bug", "crash") for each in found)
    return found if broken and harmless(alone) else alone


def harmless(found: Sequence[dict[str, Any]]) -> bool:
    """Whether each mutant has worked or was refused."""
    return all(each["end"] in ("fine", "refused") for each in found)


def _waited(child: int) -> tuple[int, Any]:
    until = time.monotonic() + WAIT
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            return status, used
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            return status, used
        time.sleep(0.002)


def main(folder: Path, first: int, count: int) -> None:
    """Try so many mutants."""
    import torch
    import transformers.integrations.gguf
    import transformers.models.llama.modeling_llama  # noqa: F401

    from lmtui.models import template_renderer
    from tests.models import mutations  # noqa: F401

    torch.set_num_threads(1)
    template_renderer.SECONDS = 0.3  # type: ignore[misc]
    for base in ("Q8_0.gguf", "F32.gguf", "plain", "brief"):
        for chats in (True, False):
            attempt(folder / base, chats=chats)  # what all import, and compile
    os.environ["CXX"] = "false"  # no mutant is worth two seconds of a compiler
    _, idle = forked([], folder)
    last = first + count
    for start in range(first, last, TOGETHER):
        for found in judged(range(start, min(start + TOGETHER, last)), folder, idle):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

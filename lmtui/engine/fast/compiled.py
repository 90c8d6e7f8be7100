"""What was compiled for the layers of a model, kept for the next start.

Owns the folder that holds it, and whether it can be trusted: made by this version of
torch for this kind of processor, complete, and computing what it should. Compiles
nothing. Knows no model but its plan.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lmtui.engine.fast import attention
from lmtui.engine.fast.attention import Attention
from lmtui.engine.fast.crossing import Crossing, Plan, Run, examples
from lmtui.models import hardware, sealed

PACKAGE = "crossing.pt2"
_FAILED = "-failed.json"
_LAYOUT = "3"  # of both: another one is another folder
_NEAR = 1e-3  # of the largest number: sums are rounded in another order


@dataclass(frozen=True, slots=True)
class Compiled:
    """What runs in place of the layers' single operations."""

    crossing: Run
    attention: Attention | None = None
    """None where heads have a width that it can't be compiled for."""


def root() -> Path:
    """Where the folders of all of them are."""
    return sealed.root("compiled")


def folder_of(plan: Plan) -> Path:
    """Where what a plan says is kept, once it is compiled."""
    said = json.dumps([asdict(plan), made_by()], sort_keys=True)
    return root() / hashlib.sha256(said.encode()).hexdigest()[:24]


def made_by() -> dict[str, str]:
    """What can use what is compiled here: the compiler is told to use all that this
    very processor can do."""
    return _of_this_version() | {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "instructions": hardware.instructions(),
    }


def _of_this_version() -> dict[str, str]:
    return {"torch": torch.__version__, "layout": _LAYOUT}


def keep(plan: Plan, scratch: Path) -> None:
    """Keep the folder in which a plan was compiled, and none of those that this
    version of torch can't use.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    width, feed = plan.out.rows, plan.down.columns
    sealed.seal(scratch, folder_of(plan), source=f"{width} × {feed}", made_by=made_by())
    for folder, _, _ in sealed.folders(root()):
        # A home can be shared with a machine that has another processor.
        if not sealed.is_complete(folder, _of_this_version()):
            shutil.rmtree(folder, ignore_errors=True)


def note_failure(plan: Plan, compiler: str, why: str) -> None:
    """Remember that a compiler failed, and in which words."""
    note = json.dumps({"compiler": compiler, "why": why})
    with suppress(OSError):
        _note_of(plan).write_text(note)


def has_failed(plan: Plan, compiler: str) -> bool:
    """Whether a compiler failed with a plan before."""
    return _note_of(plan) in failures(compiler)


def failures(compiler: str) -> dict[Path, str]:
    """The notes about everything that a compiler failed with, and its words."""
    found = {}
    for file in root().glob(f"*{_FAILED}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(file.read_bytes())
            if note["compiler"] == compiler:
                found[file] = str(note["why"])
    return found


def _note_of(plan: Plan) -> Path:
    folder = folder_of(plan)
    return folder.with_name(folder.name + _FAILED)


def count() -> int:
    """How many plans were compiled here."""
    return sum(
        sealed.is_complete(folder, made_by()) for folder, _, _ in sealed.folders(root())
    )


def is_kept(plan: Plan) -> bool:
    """Whether what a plan says was compiled here."""
    return sealed.is_complete(folder_of(plan), made_by())


@torch.inference_mode()
def opened(plan: Plan) -> Compiled:
    """What was compiled, ready to run.

    Raises:
        ValueError: it is damaged, and was taken away.
    """
    folder = folder_of(plan)
    try:
        # The public way to open it imports a compiler first, which takes seconds.
        loader = torch._C._aoti.AOTIModelPackageLoader(
            str(folder / PACKAGE), "model", False, 1, -1
        )
        run: Run = loader.run
        for tokens in (1, 3):
            _require_right(run, plan, tokens)
        attending = None
        if attention.suits(plan.head):
            attending = Attention(folder / attention.FILE, plan.heads, plan.kv_heads)
            attending.require_right(plan.head)
    except (RuntimeError, OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(str(error).partition("\n")[0]) from error
    return Compiled(run, attending)


def _require_right(run: Run, plan: Plan, tokens: int) -> None:
    """Compare what was compiled with what it was compiled from.

    Raises:
        ValueError: they differ.
    """
    inputs = examples(plan, tokens)
    wanted = Crossing(plan)(*inputs)
    for ours, theirs in zip(run(list(inputs)), wanted, strict=True):
        far = (ours - theirs).abs().max() / theirs.abs().max()
        if not bool(far < _NEAR):
            raise ValueError("it computes something else")

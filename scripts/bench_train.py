"""Training as ratios: this program against a plain script with Trainer and peft.

Both are given the same packed blocks in the same order, threads, attention and
settings, each in a process of its own, in turn, A B A B …; the table shows medians of
the ratios, because the speed of a machine drifts. The notes are the reference that
comes with Python.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from reference import write_reference

BLOCK, BATCH, RANK, ALPHA, RATE = 512, 4, 16, 32, 2e-4
WARM = 1
"""Steps that are not timed."""
SIDES = ("plain float32", "ours float32", "plain bfloat16", "ours bfloat16")
RATIOS = (
    ("ours float32", "plain float32"),
    ("ours bfloat16", "plain float32"),
    ("ours bfloat16", "plain bfloat16"),
)


def settings() -> Any:
    """How both train."""
    from lmtui.train.settings import TrainSettings

    return TrainSettings(
        rank=RANK, alpha=ALPHA, lr=RATE, block=BLOCK, batch=BATCH, epochs=1, warmup=0
    )


def schedule(blocks: int) -> Any:
    """In which order both read the blocks."""
    from lmtui.train.trainer import Schedule

    return Schedule(blocks, settings())


class Peak:
    """The most memory that this process uses, in bytes."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self.bytes = 0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            self.bytes = max(self.bytes, self._process.memory_info().rss)
            time.sleep(0.005)


def pack(notes: list[str], model: str | None, count: int) -> list[list[int]]:
    """The first blocks of the notes."""
    from lmtui.models.load import load
    from lmtui.train import dataset
    from lmtui.train.notes import read_notes
    from lmtui.train.settings import TrainSettings

    tokenizer = load(model).tokenizer
    documents = read_notes(notes, TrainSettings()).documents
    examples, _ = dataset.examples(documents, tokenizer)
    packed = dataset.pack(examples, BLOCK, dataset.padding(tokenizer))
    return [list(block.ids) for block in packed[:count]]


def plain(blocks: list[list[int]], model: str | None, *, half: bool) -> dict[str, Any]:
    """What anybody would write: the seconds of each step, and their losses."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from lmtui.models.load import load

    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    base = load(model, device="cpu").model
    peak, seconds = Peak(), []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Times each step."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    course = schedule(len(blocks))
    order = [i for step in range(1, course.steps + 1) for i in course.blocks_of(step)]
    rows = [{"input_ids": blocks[i], "labels": blocks[i]} for i in order]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=get_peft_model(base, config),
            args=TrainingArguments(
                output_dir=folder,
                use_cpu=True,
                bf16=half,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                per_device_train_batch_size=1,
                gradient_accumulation_steps=BATCH,
                learning_rate=RATE,
                lr_scheduler_type="cosine",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                dataloader_pin_memory=False,
                disable_tqdm=True,
            ),
            train_dataset=rows,
            data_collator=lambda rows: {
                name: torch.tensor([row[name] for row in rows]) for name in rows[0]
            },
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    return {"seconds": seconds, "losses": losses, "bytes": peak.bytes}


def ours(blocks: list[list[int]], model: str | None, *, half: bool) -> dict[str, Any]:
    """The same by this program."""
    from lmtui.models.adapters.card import Base
    from lmtui.models.load import load
    from lmtui.train.dataset import Block
    from lmtui.train.model import prepare_for_training
    from lmtui.train.trainer import Sequences, adam, steps

    loaded = load(model, device="cpu")
    peak = Peak()
    trained = prepare_for_training(loaded, Base("", "", ()), settings(), half=half)
    packed = [Block(tuple(ids), (True,) * len(ids), len(ids)) for ids in blocks]
    sequences = Sequences(packed, schedule(len(packed)))
    made = list(steps(trained, adam(trained, RATE), sequences, first=1, clip=1.0))
    return {
        "seconds": [step.seconds for step in made],
        "losses": [step.loss for step in made],
        "bytes": peak.bytes,
    }


def child(side: str, work: Path, model: str | None) -> None:
    """Measure one side and write down what was found."""
    given = json.loads((work / "blocks.json").read_text())
    kind, dtype = side.split()
    measure = plain if kind == "plain" else ours
    found = measure(given, model, half=dtype == "bfloat16")
    (work / "found.json").write_text(json.dumps(found))


def measured(side: str, work: Path, model: str | None) -> dict[str, float]:
    """One side in a process of its own: its speed, its memory, its last loss."""
    command = [sys.executable, __file__, "--side", side, "--work", str(work)]
    command += ["--model", model] if model else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads((work / "found.json").read_text())
    timed = found["seconds"][WARM:]
    speed = BLOCK * BATCH * len(timed) / sum(timed)
    return {"speed": speed, "bytes": found["bytes"], "loss": found["losses"][-1]}


def print_tables(rounds: list[dict[str, dict[str, float]]]) -> None:
    """What each side came to, and the ratios."""
    print(
        "\n| side | tokens/s | peak memory | loss of the last step |\n|---|---|---|---|"
    )
    for side in SIDES:
        speed, size, loss = (
            median(found[side][name] for found in rounds)
            for name in ("speed", "bytes", "loss")
        )
        print(f"| {side} | {speed:.0f} | {size / 1e6:,.0f} MB | {loss:.4f} |")
    print("\n| ratio | speed | memory |\n|---|---|---|")
    for one, other in RATIOS:
        speed, size = (
            median(found[one][name] / found[other][name] for found in rounds)
            for name in ("speed", "bytes")
        )
        print(f"| {one} / {other} | {speed:.2f} | {size:.2f} |")


def print_training(model: str | None, *, rounds: int, steps: int = 4) -> None:
    """The tables of what training costs, from so many timed steps a side and round."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        notes = [str(write_reference(Path(folder, "notes")))]
        blocks = pack(notes, model, BATCH * (steps + WARM))
        (work / "blocks.json").write_text(json.dumps(blocks))
        print_tables(
            [{s: measured(s, work, model) for s in SIDES} for _ in range(rounds)]
        )


def main() -> None:
    """Measure one side: what `print_training` starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model")
    options = parser.parse_args()
    child(options.side, options.work, options.model)


if __name__ == "__main__":
    main()

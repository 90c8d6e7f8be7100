"""A worker that trains nothing: `fake_worker.py SCRIPT RUN_FOLDER [OPTIONS]`.

It speaks the protocol of the real one, with a made-up loss. SCRIPT is JSON:
`steps` is how many there are; `hold` the step before which it waits for a word; `die`
how it breaks off after `die_at` steps (`kill`, `exit`, `torn`, `error`, `quiet`);
`deaf` leaves all words unread; `planning` never ends the plan; `skips` are files that
it can't read, `notes` what the plan says.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train import events, report
from lmtui.train.metrics import LossTotals
from lmtui.train.report import Report
from lmtui.train.run_folder import Manifest, RunFolder, mark_complete
from lmtui.train.verdict import Verdict

EVERY = 2
"""Steps from one evaluation to the next."""


class Worker:
    """One process."""

    def __init__(self, script: dict[str, Any], folder: Path, options: set[str]) -> None:
        self.script = script
        self.run = RunFolder(folder)
        self.request = self.run.read_request()
        self.options = options
        self.words: queue.Queue[str] = queue.Queue()
        self.steps = script.get("steps", 4)
        self.step = 0

    def tell(self, event: events.Event) -> None:
        """Write an event."""
        self.write(events.to_json(event) + "\n")

    def write(self, text: str) -> None:
        """Write to the events as it is."""
        with self.run.events_file.open("a", encoding="utf-8") as file:
            file.write(text)

    def listen(self) -> None:
        """Take down what is said; the end of it means stop."""
        stops = 0
        for line in sys.stdin:
            stops += line == "stop\n"
            if stops == 2:
                os._exit(0)
            self.words.put(line.strip())
        self.words.put("stop")

    def work(self) -> None:
        """All of it."""
        if not self.script.get("deaf"):
            threading.Thread(target=self.listen, daemon=True).start()
        self.plan()
        if "--plan-only" in self.options:
            self.end("declined")
        if "--go" not in self.options and self.words.get() != "go":
            self.end("declined")
        resumed = self.run.last_checkpoint if "--resume" in self.options else None
        self.step = resumed or 0
        self.tell(events.Start(self.request.name, self.steps, resumed))
        if resumed is None:
            self.evaluate()
        while self.step < self.steps:
            self.obey(wait=self.script.get("hold") == self.step + 1)
            self.make_step()
        self.finish()

    def plan(self) -> None:
        """Say what would be done."""
        self.tell(events.Doing("reading the notes"))
        if self.script.get("planning"):
            threading.Event().wait()
        for path in self.script.get("skips", ()):
            self.tell(events.Skip(path, "it is binary"))
        self.run.write_manifest(Manifest("/notes", {"a.md": "0" * 64}, 3, ("b.md",)))
        sample = (events.Piece("Question\n", False), events.Piece("Answer", True))
        self.tell(
            events.Plan(
                run=self.request.name,
                base="tiny",
                method=self.request.settings.method,
                device="cpu",
                dtype="float32",
                files=3,
                skipped=len(self.script.get("skips", ())),
                documents=2,
                held_out_documents=1,
                tokens=1000,
                held_out_tokens=100,
                blocks=8,
                steps=self.steps,
                epochs=self.request.settings.epochs,
                trainable=1000,
                parameters=10_000,
                memory=2_000_000_000,
                seconds=100.0,
                sample=sample,
                notes=tuple(self.script.get("notes", ())),
            )
        )

    def obey(self, *, wait: bool) -> None:
        """Do what was said; with `wait`, not before something is."""
        while wait or not self.words.empty():
            wait = False
            match self.words.get():
                case "stop":
                    self.save()
                    self.end("stopped")
                case "pause":
                    self.tell(events.Paused(True))
                    wait = True
                case "resume":
                    self.tell(events.Paused(False))

    def make_step(self) -> None:
        """One more."""
        self.step += 1
        step = self.step
        self.tell(
            events.Step(step, step / 4, self.loss, 1e-4, 0.5, step * 100, 50.0, 9.0, 7)
        )
        if step % EVERY == 0:
            self.evaluate()
            self.save()
        if step == self.script.get("die_at"):
            self.die(self.script["die"])

    @property
    def loss(self) -> float:
        """It falls by a tenth with each step."""
        return 3.0 - self.step / 10

    def evaluate(self) -> None:
        """Say how the held-out documents do."""
        self.tell(events.Eval(self.step, self.loss, 20.0 - self.step, 1.5, True))
        item = events.Continuation("Once", " upon", f" upon {self.step}")
        self.tell(events.Sample(self.step, (item,)))

    def save(self) -> None:
        """Keep a checkpoint."""
        checkpoint = self.run.checkpoint(self.step)
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "state").write_text(str(self.step))
        mark_complete(checkpoint)
        self.tell(events.Saved(self.step))

    def die(self, how: str) -> NoReturn:
        """Break off."""
        print("first line\nRuntimeError: the very last line", file=sys.stderr)
        if how == "torn":
            self.write('{"event": "step", "st')
        if how == "error":
            self.tell(events.Failed("no memory", "2 GB", "Lower --block."))
            self.end("failed", code=1)
        if how == "quiet":
            os._exit(0)
        if how in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(3)

    def finish(self) -> NoReturn:
        """Write the adapter, and say so."""
        adapter = paths.ensure_folder(paths.adapters_folder()) / self.request.name
        adapter.mkdir(exist_ok=True)
        (adapter / "report.md").write_text("# Report\n")
        (adapter / "report.json").write_text(report.to_json(self.report()))
        self.end("done", adapter=self.request.name, verdict="better on your notes")

    def report(self) -> Report:
        """What came of it."""
        before, after = (LossTotals(n, n, n, 100, 300) for n in (3.0, self.loss))
        verdict = Verdict("better", "unchanged", "better on your notes", "so it is")
        return Report(
            name=self.request.name,
            base="tiny",
            method="lora",
            steps=self.steps,
            best_step=self.step,
            before=before,
            after=after,
            neutral_before=before,
            neutral_after=before,
            verdict=verdict,
            samples=(),
            documents=(),
            gained=(),
            lost=(),
            recalled_before=None,
            recalled=None,
        )

    def end(
        self,
        finish: events.Ending,
        *,
        adapter: str | None = None,
        verdict: str = "",
        code: int = 0,
    ) -> NoReturn:
        """The last word."""
        self.tell(events.End(finish, self.step, adapter, self.step, verdict))
        if finish == "done":
            self.run.remove()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    worker = Worker(json.loads(sys.argv[1]), Path(sys.argv[2]), set(sys.argv[3:]))
    try:
        with worker.run.locked():
            worker.work()
    except LmtuiError as error:
        sys.exit(str(error))

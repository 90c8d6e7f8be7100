"""A worker that trains nothing: `fake_worker.py SCRIPT [OPTIONS] RUN_FOLDER`.

Commands, events and errors are those of the real one, with a made-up loss. SCRIPT is
JSON: `steps` is how many there are; `hold` the step before which it waits for a
command; `die` how it breaks off after `die_at` steps (`exit`, `torn`, `error`,
`quiet`); `deaf` leaves all commands unread; `planning` never ends the plan; `skips` are
files that it can't read, `notes` what the plan says.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.records import plain
from lmtui.train import events
from lmtui.train.metrics import LossTotals
from lmtui.train.process import Channel, run_process
from lmtui.train.report import Report
from lmtui.train.run_folder import Manifest, RunFolder
from lmtui.train.verdict import Verdict

EVERY = 2
"""Steps from one evaluation to the next."""


class Worker:
    def __init__(
        self,
        script: dict[str, Any],
        run: RunFolder,
        options: set[str],
        channel: Channel,
    ) -> None:
        self.script, self.run, self.options = script, run, options
        self.channel, self.emit = channel, channel.emit
        self.request = run.read_request()
        self.steps = script.get("steps", 4)
        self.step = 0

    def work(self) -> events.End:
        self.plan()
        if "--plan-only" in self.options:
            return events.End("declined", 0)
        if "--go" not in self.options:
            self.channel.wait_for_go()
        self.channel.save_first()
        resumed = self.run.last_checkpoint if "--resume" in self.options else None
        self.step = resumed or 0
        self.emit(events.Start(self.request.name, self.steps, resumed))
        if resumed is None:
            self.evaluate()
        while self.step < self.steps:
            if self.script.get("hold") == self.step + 1:
                self.wait_for_a_command()
            if self.channel.pausing:
                self.emit(events.Paused(True))
                self.channel.wait_for_resume()
                self.emit(events.Paused(False))
            if self.channel.stopping():
                self.save()
                return events.End("stopped", self.step)
            self.make_step()
        return self.finish()

    def plan(self) -> None:
        self.emit(events.Doing("reading the notes"))
        if self.script.get("planning"):
            threading.Event().wait()
        for share in self.script.get("shares", ()):
            self.emit(events.Doing("evaluating", share))
        for path in self.script.get("skips", ()):
            self.emit(events.Skip(path, "it is binary"))
        notes = Manifest("/notes", {"a.md": "0" * 64}, 3, ("b.md",))
        self.run.write(self.run.manifest_file, notes)
        sample = (events.Piece("Question\n", False), events.Piece("Answer", True))
        self.emit(
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

    def wait_for_a_command(self) -> None:
        changed = self.channel._changed
        with changed:
            changed.wait_for(lambda: self.channel.pausing or self.channel.stopping())

    def make_step(self) -> None:
        self.step += 1
        step = self.step
        self.emit(
            events.Step(step, step / 4, self.loss, 1e-4, 0.5, step * 100, 50.0, 9.0, 7)
        )
        if step % EVERY == 0:
            self.evaluate()
            self.save()
        if step == self.script.get("die_at"):
            self.die(self.script["die"])

    @property
    def loss(self) -> float:
        return 3.0 - self.step / 10

    def evaluate(self) -> None:
        self.emit(events.Eval(self.step, self.loss, 20.0 - self.step, 1.5, True))
        item = events.Continuation("Once", " upon", f" upon {self.step}")
        self.emit(events.Sample(self.step, (item,)))

    def save(self) -> None:
        checkpoint = self.run.checkpoint(self.step)
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "state").write_text(str(self.step))
        self.emit(events.Saved(self.step))

    def die(self, how: str) -> None:
        print("first line\nRuntimeError: the very last line", file=sys.stderr)
        sys.stderr.flush()
        if how == "torn":
            with self.run.events_file.open("a", encoding="utf-8") as file:
                file.write('{"event": "step", "st')
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "error":
            raise LmtuiError("no memory", "2 GB", "Lower --block.")
        os._exit(0 if how == "quiet" else 3)

    def finish(self) -> events.End:
        """Write the adapter, and remove the run folder as the real one does."""
        name, verdict = self.request.name, "better on your notes"
        adapter = paths.ensure_folder(paths.adapters_folder()) / name
        adapter.mkdir(exist_ok=True)
        (adapter / "report.md").write_text("# Report\n")
        before, after = (LossTotals(n, n, n, 100, 300) for n in (3.0, self.loss))
        judged = Report(
            name=name,
            base="tiny",
            method="lora",
            steps=self.steps,
            best_step=self.step,
            before=before,
            after=after,
            neutral_before=before,
            neutral_after=before,
            verdict=Verdict("better", "unchanged", verdict, "so it is"),
            samples=(),
            documents=(),
            gained=(),
            lost=(),
            recalled_before=None,
            recalled=None,
        )
        (adapter / "report.json").write_text(json.dumps(plain(judged)))
        self.run.remove()
        return events.End("done", self.step, name, self.step, verdict)


if __name__ == "__main__":
    script, *options, folder = sys.argv[1:]
    given, run = json.loads(script), RunFolder(Path(folder))
    if given.get("deaf"):
        Channel.listen = lambda *_: None  # type: ignore[method-assign]
    sys.exit(run_process(run, lambda c: Worker(given, run, {*options}, c).work()))

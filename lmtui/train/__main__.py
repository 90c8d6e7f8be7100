"""`python -m lmtui.train RUN_FOLDER`: the training process.

Makes at most one GPU visible before torch is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.train.control import EventWriter, WorkerControl
from lmtui.train.events import Doing, End, Failed
from lmtui.train.run_folder import RunFolder
from lmtui.train.split import read_split

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def main() -> int:
    """Train as the run folder's request says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lmtui.train", description=__doc__)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument(
        "--resume", action="store_true", help="from the last checkpoint"
    )
    parser.add_argument("--plan-only", action="store_true", help="end after the plan")
    parser.add_argument("--go", action="store_true", help="don't wait after the plan")
    options = parser.parse_args()
    # transformers' Trainer spreads a model over all visible GPUs.
    os.environ[_VISIBLE] = one_device(
        RunFolder(options.run_folder).read_request().device, os.environ.get(_VISIBLE)
    )
    return run(
        RunFolder(options.run_folder),
        resume=options.resume,
        plan_only=options.plan_only,
        go=options.go,
    )


def run(
    folder: RunFolder, *, resume: bool, plan_only: bool, go: bool, words: int = 0
) -> int:
    """Train as the run folder's request says; return the exit code.

    `words` is the file descriptor that commands come from. The notes are read first,
    so that what is wrong with them is told before torch is imported.
    """
    try:
        with folder.locked(), folder.new_events() as file:
            tell = EventWriter(file)
            commands = WorkerControl(tell.leave)
            commands.listen(words)
            tell(Doing("reading the notes"))
            try:
                notes = read_split(
                    folder.read_request(), folder, resume=resume, skip=tell
                )
            except Exception as error:  # every error becomes an event
                known = error
                if not isinstance(known, LmtuiError):
                    from lmtui.train.worker import explained

                    known = explained(error, folder.path)
                tell(Failed(known.title, known.detail, known.hint))
                tell(End("failed", folder.last_checkpoint or 0))
                return 1
            from lmtui.train.worker import Worker  # imports torch: seconds

            return Worker(
                folder, notes, commands, tell, resume=resume, plan_only=plan_only, go=go
            ).work()
    except LmtuiError as error:  # raised before events can be written
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1


def one_device(device: str, visible: str | None) -> str:
    """Return the GPU to make visible for a device name such as `cuda:1`.

    `visible` is `CUDA_VISIBLE_DEVICES` as it is set; the device's number counts within
    it.
    """
    shown = [name for name in (visible or "").split(",") if name]
    number = device.partition(":")[2]
    place = int(number) if number.isdecimal() else 0
    if visible is None:
        return str(place)
    return shown[place] if place < len(shown) else ""


if __name__ == "__main__":
    sys.exit(main())

"""`python -m lmtui.train RUN_FOLDER`: the process of a training on notes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lmtui.train.events import Doing, End
from lmtui.train.process import Channel, run_process
from lmtui.train.run_folder import RunFolder
from lmtui.train.split import read_split


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lmtui.train", description=__doc__)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument(
        "--resume", action="store_true", help="from the last checkpoint"
    )
    parser.add_argument("--plan-only", action="store_true", help="end after the plan")
    parser.add_argument("--go", action="store_true", help="don't wait after the plan")
    options = vars(parser.parse_args())
    return run(RunFolder(options.pop("run_folder")), **options)


def run(
    folder: RunFolder, *, resume: bool, plan_only: bool, go: bool, commands: int = 0
) -> int:
    """Train as the run folder's request says; return the exit code.

    The notes are read first, so that what is wrong with them is told before torch is
    imported.
    """

    def work(channel: Channel) -> End:
        request = folder.read_request()
        channel.emit(Doing("reading the notes"))
        notes = read_split(request, folder, resume=resume, skip=channel.emit)
        from lmtui.train.run import Training  # imports torch: seconds

        training = Training(folder, request, notes, channel, resume=resume)
        return training.run(plan_only=plan_only, go=go)

    return run_process(folder, work, commands=commands)


if __name__ == "__main__":
    sys.exit(main())

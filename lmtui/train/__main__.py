"""`python -m lmtui.train RUN_FOLDER`: the training process.

Makes at most one GPU visible before torch is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lmtui.train.run_folder import RunFolder

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
    from lmtui.train.worker import Options, run

    return run(
        options.run_folder,
        Options(resume=options.resume, plan_only=options.plan_only, go=options.go),
        words=0,
    )


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

"""The pretraining process with a scripted training, which needs no torch.

Its argument says what it does once the request is read; its process id is told as the
step of an event.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from lmtui.errors import LmtuiError
from lmtui.learn.pretrain import __main__ as process
from lmtui.learn.pretrain.events import Evaluated, Finished
from lmtui.learn.pretrain.options import PretrainOptions
from lmtui.train.events import to_json


def train(data: bytes, options: PretrainOptions) -> None:
    """Do what the argument says instead of training."""
    process._write(Evaluated(os.getpid(), float(len(data)), float(options.seed)))
    match sys.argv[1]:
        case "finish":
            os.write(1, b"a warning of a library\n\x1b[2J\xff\n")
            process._write(Finished(1, 2.0, 3.0, 3.0, 1, 1.0))
        case "split":
            line = to_json(Finished(1, 2.0, 3.0, 3.0, 1, 1.0)).encode() + b"\n"
            for byte in line:
                os.write(1, bytes([byte]))
        case "wait":
            threading.Event().wait()
        case "flood":
            while True:
                process._write(Evaluated(os.getpid(), 0.0, 0.0))
        case "refuse":
            raise LmtuiError("the title", "the detail", "The hint.")
        case "bug":
            raise ZeroDivisionError("of nothing")
        case "memory":
            raise MemoryError
        case "die":
            os.write(2, b"its last \x1b[31mwords\n")
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)


process._train = train  # type: ignore[assignment]
if sys.argv[1] == "deaf":
    sys.exit(4)  # before the request is read
sys.exit(process.main())

"""`python -m lmtui.learn.pretrain RUN_FOLDER`: the process that pretrains a model."""

from __future__ import annotations

import sys
from pathlib import Path

from lmtui.learn.pretrain.request import PretrainRequest
from lmtui.models.errors import hush
from lmtui.train.events import End
from lmtui.train.process import Channel, run_process
from lmtui.train.run_folder import RunFolder


def main() -> int:
    folder = RunFolder(Path(sys.argv[1]))

    def work(channel: Channel) -> End:
        request = folder.read(folder.request_file, PretrainRequest)
        hush()
        import torch  # seconds, in which a stop is obeyed already

        from lmtui.learn.pretrain.loop import Pretraining
        from lmtui.models.hardware import default_threads

        torch.set_num_threads(default_threads())
        return Pretraining(request, channel.emit).run()

    return run_process(folder, work)


if __name__ == "__main__":
    sys.exit(main())

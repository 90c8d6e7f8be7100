"""The log file, for warnings of libraries and the traceback of a bug.

No file is created before the first line. A folder that can't be written to silences the
log instead of stopping the program.
"""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from lmtui import paths

_SIZE = 1_000_000  # bytes of a file before the next one is begun
_KEPT = 3
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _QuietFile(RotatingFileHandler):
    """A rotating log file that is created with its first line and never raises."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            file, maxBytes=_SIZE, backupCount=_KEPT, encoding="utf-8", delay=True
        )
        self.written = False

    def _open(self) -> Any:
        file = Path(self.baseFilename)
        paths.ensure_folder(file.parent)
        encoding, opener = self.encoding, paths.open_private
        return open(file, self.mode, encoding=encoding, opener=opener)

    def emit(self, record: logging.LogRecord) -> None:
        self.written = True
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        self.written = False


def start() -> _QuietFile:
    """Send the program's log to the file; a second call changes nothing."""
    logger = logging.getLogger("lmtui")
    # an older version did not make them private
    paths.make_all_private(paths.log_folder())
    file = Path(os.path.abspath(paths.log_folder() / "lmtui.log"))
    for handler in logger.handlers:
        if isinstance(handler, _QuietFile) and handler.baseFilename == str(file):
            return handler
    handler = _QuietFile(file)
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


def record_bug(error: BaseException) -> Path | None:
    """Write the traceback of `error`; return the file's path, or None if it can't be
    written."""
    handler = start()
    logging.getLogger("lmtui").error("unexpected error", exc_info=error)
    return Path(handler.baseFilename) if handler.written else None

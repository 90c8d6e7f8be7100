"""Which process is which, also after its id was given to another.

Owns how a process is told from one that had its id before. Knows nothing of what a
process does.
"""

from __future__ import annotations

import os

_CLOCK = 5.0  # s by which a process's start may be told differently at another time


def started(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is none."""
    import psutil  # only who leaves something behind needs it

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None


def runs_elsewhere(pid: int, since: float) -> bool:
    """Whether another process than this one, which had this id when it started then,
    still runs."""
    if pid == os.getpid():
        return False
    found = started(pid)
    return found is not None and abs(found - since) < _CLOCK


def shell_waits() -> bool:
    """Whether a shell with job control has started this process, alone or with others:
    it has a prompt once they stop, and brings them back."""
    import psutil  # only who wants to stop needs it

    group = os.getpgrp()
    try:
        shell = psutil.Process(group).ppid()
        return os.getsid(shell) == os.getsid(0) and os.getpgid(shell) != group
    except (psutil.Error, OSError):
        return False

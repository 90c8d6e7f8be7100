"""Start and kill child processes, measure their time and memory, tell whether a process
id still is the same process, and count the processors that this one may use."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import lmtui
from lmtui.errors import SystemLimitError

_CGROUP = Path("/sys/fs/cgroup")
_CLOCK = 5.0  # seconds by which psutil's start time of a process may vary

MODULE: Sequence[str] = (sys.executable, "-P", "-m")
"""The command that runs a module. `-P` keeps Python files in the current folder from
being imported in place of modules."""


def started(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it does not
    run."""
    import psutil  # imported here: few runs need it

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None


def runs_elsewhere(pid: int, start_time: float) -> bool:
    """Return whether the process with this id and start time still runs, and is not
    this one."""
    if pid == os.getpid():
        return False
    found = started(pid)
    return found is not None and abs(found - start_time) < _CLOCK


def processor_seconds(pid: int) -> float:
    """Return how long a process has run on processors; 0 if it does not exist."""
    import psutil  # imported here: few runs need it

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def memory(pid: int) -> int:
    """Return the bytes of memory that a process occupies; 0 if it does not exist."""
    import psutil  # imported here: few runs need it

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def shell_waits() -> bool:
    """Return whether a shell with job control started this process, or its group: the
    shell then shows a prompt when they are suspended, and can resume them."""
    import psutil  # imported here: only suspending needs it

    group = os.getpgrp()
    try:
        shell = psutil.Process(group).ppid()
        return os.getsid(shell) == os.getsid(0) and os.getpgid(shell) != group
    except (psutil.Error, OSError):
        return False


def usable_processors() -> int:
    """Return the number of logical processors that this process may use; at least
    1."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return max(1, min(count, math.ceil(quota)) if quota else count)


def cpu_quota() -> float | None:
    """Return the number of processors that a control group grants, or None without a
    limit."""
    try:
        limits = (_CGROUP / "cpu.max").read_text().split()
    except OSError:
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        try:
            limits = [(_CGROUP / "cpu" / file).read_text().strip() for file in files]
        except OSError:
            return None
    if len(limits) != 2 or not all(map(str.isdigit, limits)) or "0" in limits:
        return None  # `max`, or −1
    return int(limits[0]) / int(limits[1])


def begin(command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process with a pipe as stdin, whose stdout and stderr go to `output`. It
    gets no signals of the terminal.

    Raises:
        OSError: the program does not exist.
        SystemLimitError: no more processes can be started.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": _path()},
            start_new_session=True,
        )
    except BlockingIOError as error:
        raise SystemLimitError(str(error)) from error


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that `begin` started, and its child processes, and wait for its
    end; nothing happens to one that has ended."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def how_it_ended(code: int) -> str:
    """Return the exit code of a process in a plain clause."""
    if code == -signal.SIGKILL:
        return "the system killed it, which it does when memory runs out"
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with code {code}"


def _path() -> str:
    """Return PYTHONPATH for the process, with this program's folder first."""
    ours = str(Path(lmtui.__file__).parents[1])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))

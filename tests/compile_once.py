"""Compile and link as g++ does, but each library once.

Results are kept in $COMPILED_ONCE, by the command and the contents of what it reads.
Hundreds of processes run this, so that it imports little.
"""

import fcntl
import hashlib
import os
import sys


def main(command: list[str]) -> None:
    """Run a command of the compiler, or copy what an equal one has made."""
    target = command[command.index("-o") + 1] if "-o" in command else ""
    files = [word for word in command if word.endswith((".cpp", ".o"))]
    sources = [file for file in files if file != target]
    if not target or not sources:
        sys.exit(run(command))
    digest = hashlib.sha256()
    for word in command:
        if word not in files:
            digest.update(word.encode() + b"\0")
    for file in [*sources, *headers(os.path.dirname(sources[0]))]:
        digest.update(os.path.basename(file).encode() + b"\0" + read(file))
    kept = os.path.join(os.environ["COMPILED_ONCE"], digest.hexdigest())
    with open(f"{kept}.lock", "w") as lock:  # an equal command waits for this one
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(kept):
            write(target, read(kept))
            os.utime(kept)
            return
        if status := run(command):
            sys.exit(status)
        write(f"{kept}.new", read(target))
        os.rename(f"{kept}.new", kept)


def run(command: list[str]) -> int:
    """The exit status of the real compiler."""
    return os.spawnvp(os.P_WAIT, "g++", ["g++", *command])


def headers(folder: str) -> list[str]:
    """What sources of a folder may include."""
    names = sorted(os.listdir(folder))
    return [os.path.join(folder, name) for name in names if name.endswith(".h")]


def read(file: str) -> bytes:
    """The bytes of a file."""
    with open(file, "rb") as opened:
        return opened.read()


def write(file: str, data: bytes) -> None:
    """Make a file of some bytes."""
    with open(file, "wb") as opened:
        opened.write(data)


if __name__ == "__main__":
    main(sys.argv[1:])

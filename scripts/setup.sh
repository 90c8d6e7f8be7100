# Sourced by the other scripts: makes sure that .venv beside the sources is ready.
#
#   ensure          what the program needs
#   ensure test     what its tests need as well
#
# All it says goes to stderr, so that stdout belongs to the program. uv does the work
# where it is on PATH, pip elsewhere.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python
# Without it, each of the hundreds of programs that tests and benchmarks start would
# compile every module anew.
unset PYTHONDONTWRITEBYTECODE

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 2
}

find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.11 or newer was not found" \
        "install it, or set PYTHON to its path"
}

# What an installation is made from, for the stamp that is given.
sources() {
    cat "$root/pyproject.toml"
    if [ "$1" = "$venv/.ready-test" ]; then
        cat "$root/tests/constraints.txt"
    fi
}

# Whether .venv has what the stamp that is given stands for. A stamp is a copy of what
# was installed from, written last: an interrupted setup is done again, one whose
# sources changed too. The tests need all that a run needs.
is_ready() {
    local ready
    for ready in "$1" "$venv/.ready-test"; do
        if [ -x "$python" ] && sources "$ready" | cmp -s - "$ready"; then
            return 0
        fi
    done
    return 1
}

# Lock file descriptor 9 for this shell and the programs that it starts; wait where
# another start has it. Python calls flock, because macOS has no program for it. The
# kernel lifts the lock when the last of these processes ends, however it ends.
lock() {
    "$1" -P -c '
import fcntl, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("another start is setting up .venv: waiting for it …", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # this file system has no locks
'
}

once="(once; this can take minutes)"

# Run a command as the step with the name that is given, on one line with its seconds.
step() {
    local began=$SECONDS
    printf 'setting up .venv: %s … ' "$1" >&2
    if "${@:2}"; then
        echo "$((SECONDS - began)) s" >&2
    else
        echo "failed after $((SECONDS - began)) s" >&2
        return 1
    fi
}

with_uv() {
    # uv reads no variable of pip's; only the index is handed on. The settings of a
    # project that one happens to stand in are not used.
    UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-}}} \
        uv "$@" --quiet --project "$root" >&2
}

with_uv_for() {
    # What it says is said again by the second try, if that fails too.
    UV_TORCH_BACKEND=$1 with_uv "${@:2}" 2>/dev/null
}

install_with_uv() {
    step environment with_uv venv --allow-existing --python "$1" "$venv" ||
        fail "the virtual environment can't be made" \
            "look at uv's words above; without uv on PATH, pip is used"
    local install=(pip install --python "$python" "${@:2}") torch="" backend=cpu
    # PyPI's torch for Linux brings CUDA, some GB. `auto` is for NVIDIA cards alone: it
    # also chooses builds for graphics of Intel and AMD, on which lmtui has never run.
    # These builds have indexes of their own, which a mirror may lack: then the plain one.
    if [ -z "${UV_TORCH_BACKEND:-}" ]; then
        if nvidia-smi >/dev/null 2>&1; then
            backend=auto
        fi
        step "packages, torch backend $backend $once" \
            with_uv_for $backend "${install[@]}" && return
        torch=", torch as the index has it"
    fi
    step "packages$torch $once" with_uv "${install[@]}" ||
        fail "the packages can't be installed" \
            "look at uv's words above; with the network back, run this again \
(uv takes its index from UV_DEFAULT_INDEX; without uv on PATH, pip is used)"
}

with_pip() {
    "$python" -P -m pip install --quiet --disable-pip-version-check "$@" >&2
}

install_with_pip() {
    step environment "$1" -P -m venv "$venv" >&2 ||
        fail "the virtual environment can't be made" \
            "install the venv module of $1 (Debian: python3-venv)"
    step "packages $once" with_pip "${@:2}" ||
        fail "the packages can't be installed" \
            "look at pip's words above; with the network back, run this again"
}

# Set up for the stamp that is given with the Python that is given.
set_up() {
    local unfinished=$venv/.unfinished what=(-e "$root")
    # uv, killed, leaves packages that it later takes for whole: begin anew.
    if [ -e "$unfinished" ]; then
        find -H "$venv" -mindepth 1 -maxdepth 1 \
            ! -name .setup-lock ! -name .unfinished -exec rm -rf {} +
    fi
    sources "$1" >"$unfinished"
    rm -f "$venv"/.ready-*
    if [ "$1" = "$venv/.ready-test" ]; then
        what=(-c "$root/tests/constraints.txt" -e "$root[test]")
    fi
    if command -v uv >/dev/null; then
        install_with_uv "$2" "${what[@]}"
    else
        install_with_pip "$2" "${what[@]}"
    fi
    mv "$unfinished" "$1"
}

ensure() {
    local stamp=$venv/.ready-${1:-run} base
    if is_ready "$stamp"; then
        return
    fi
    base=$(find_python)
    # A program that ends well on Ctrl-C would let the next step begin.
    trap 'echo >&2; exit 130' INT
    mkdir -p "$venv"
    exec 9>>"$venv/.setup-lock" # .lock is uv's
    lock "$base"
    is_ready "$stamp" || set_up "$stamp" "$base"
    exec 9>&-
    trap - INT
}

# Sourced by the other scripts: makes sure that .venv beside the sources is ready.
#
#   ensure          what the program needs
#   ensure test     what its tests need as well
#
# All it says goes to stderr, so that stdout belongs to the program.

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

ensure() {
    local wanted=${1:-run} stamp=$venv/.ready-${1:-run} ready
    # A stamp is a copy of what was installed from, written last: an interrupted setup
    # is done again, one whose sources changed too. The tests need all that a run needs.
    for ready in "$stamp" "$venv/.ready-test"; do
        if [ -x "$python" ] && sources "$ready" | cmp -s - "$ready"; then
            return
        fi
    done
    echo "setting up ${venv/#$PWD\//} (once; this can take minutes) …" >&2
    local base
    base=$(find_python)
    "$base" -P -m venv "$venv" >&2 || fail "the virtual environment can't be made" \
        "install the venv module of $base (Debian: python3-venv)"
    local what=("$root") constraints=()
    if [ "$wanted" = test ]; then
        what=("$root[test]")
        constraints=(-c "$root/tests/constraints.txt")
    fi
    "$python" -P -m pip install --quiet --disable-pip-version-check \
        ${constraints[@]+"${constraints[@]}"} -e "${what[@]}" >&2 ||
        fail "the packages can't be installed" \
            "look at pip's words above; with the network back, run this again"
    sources "$stamp" >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

"""`python -m lmtui` is the same program as `lmtui`."""

from lmtui.cli.main import run

run()

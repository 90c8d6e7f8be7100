"""Tests of lmtui.inspect.page."""

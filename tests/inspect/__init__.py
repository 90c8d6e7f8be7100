"""Tests of lmtui.inspect."""

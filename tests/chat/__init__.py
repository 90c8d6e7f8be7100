"""Tests of lmtui.chat."""

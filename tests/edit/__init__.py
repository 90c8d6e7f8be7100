"""Tests of lmtui.edit."""

"""The editor: `lmtui complete`."""

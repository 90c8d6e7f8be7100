"""`lmtui inspect`."""

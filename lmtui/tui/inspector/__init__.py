"""The inspector: `lmtui inspect` on a screen."""

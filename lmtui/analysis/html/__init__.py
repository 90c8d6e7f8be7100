"""The page that `lmtui inspect --html` writes."""

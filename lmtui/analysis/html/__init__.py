"""The HTML page that `lmtui inspect --html` writes."""

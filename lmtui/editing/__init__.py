"""Editing text files: loading, saving, recovery copies, search and token scores."""

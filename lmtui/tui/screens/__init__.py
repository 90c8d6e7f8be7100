"""One screen a file, its sheet beside it."""

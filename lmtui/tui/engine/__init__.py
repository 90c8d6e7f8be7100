"""Between the screens and the engine thread."""

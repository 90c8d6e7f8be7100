"""Language model engine: distributions, decoding, scoring."""

"""The model behind everything: distributions, decoding, scoring."""

"""Models of transformers whose weights stay in the blocks of a GGUF file."""

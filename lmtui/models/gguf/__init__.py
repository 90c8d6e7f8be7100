"""GGUF files: parsed safely, and converted for transformers."""

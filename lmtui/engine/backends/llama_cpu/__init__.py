"""CPU backend for Llama-shaped models: our own decoder with fused, compiled kernels."""

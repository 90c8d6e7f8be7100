"""Backends that run a forward pass: transformers, a CUDA graph, or our CPU decoder."""

"""Weights of Llama-shaped models as the CPU backend runs them."""

"""Texts and conversations as tokens, and back."""

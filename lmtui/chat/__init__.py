"""Conversations as values; never torch, never Textual."""

"""Scores of texts that are there."""

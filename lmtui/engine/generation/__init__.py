"""Answers, token by token."""

"""Runners, questions and the thread between the screens and the engine."""

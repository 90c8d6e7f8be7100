"""Adapting a model to a user's own notes: reading, training, judging the result."""

"""Grammars that an answer must follow: their text, their check, and the token masks."""

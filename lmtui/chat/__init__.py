"""Conversations: messages, branches, storage, search, export; no torch, no Textual."""

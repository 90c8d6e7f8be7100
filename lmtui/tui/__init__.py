"""The Textual screens. Use the engine through its protocol, and never torch."""

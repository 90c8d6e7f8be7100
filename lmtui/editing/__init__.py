"""Text files being edited: nothing of them lost; never torch, never Textual."""

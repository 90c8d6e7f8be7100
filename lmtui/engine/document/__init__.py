"""A text that is edited: predictions, completions and corrections."""

"""The verb `learn`."""

"""The screen of a course."""

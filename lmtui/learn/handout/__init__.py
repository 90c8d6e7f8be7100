"""Handouts: the pages of a course with the numbers of a model, as web pages."""

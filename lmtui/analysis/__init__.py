"""Analyses of scored text: totals, comparison of models, branches."""
